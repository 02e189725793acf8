"""LoRA and learned words: from safetensors alone, and gone when they are taken out."""

import pickle
from hashlib import sha256

import pytest
import torch
from safetensors.torch import save_file

from fiberaug.errors import DataRefused, SecurityRefused, UsageError
from fiberaug.pretrained import PretrainedPipeline
from fiberaug.pretrained.adapters import find_adapter, scales_of
from fiberaug.pretrained.folders import load_pipeline


@pytest.fixture(scope="module")
def lora(base, tmp_path_factory):
    """A folder with an adapter that changes images much."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipeline = load_pipeline(base)
    config = LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        pipeline.unet.add_adapter(config)
        for name, weight in pipeline.unet.named_parameters():
            if "lora" in name:
                torch.nn.init.normal_(weight, std=0.7)
    folder = tmp_path_factory.mktemp("lora")
    layers = get_peft_model_state_dict(pipeline.unet)
    pipeline.save_lora_weights(folder, unet_lora_layers=layers)
    return folder


def images(base, **more):
    told = {"prompt": "a cat", "steps": 2} | more
    return PretrainedPipeline.open(base, **told).generate([1])


def test_an_adapter_changes_images_and_with_scale_0_or_taken_out_it_does_not(
    base, lora
):
    plain = images(base)
    pipeline = PretrainedPipeline.open(base, prompt="a cat", steps=2, lora=lora)
    changed = pipeline.generate([1])
    pipeline.unload_lora()

    assert (changed != plain).any()
    assert (images(base, lora=[lora], lora_scale=0) == plain).all()
    assert (images(base, lora=lora, lora_scale=0.5) != changed).any()
    assert (pipeline.generate([1]) == plain).all()
    assert pipeline.describe()["lora"] == []


def test_the_hash_and_the_scale_of_an_adapter_are_on_record(base, lora):
    (file,) = lora.glob("*.safetensors")
    found = PretrainedPipeline.open(base, prompt="a", lora=file, lora_scale=0.5)
    said = found.describe()

    assert said["lora"] == [sha256(file.read_bytes()).hexdigest()]
    assert said["params"]["lora_scale"] == [0.5]


def test_two_adapters_have_a_scale_each(base, lora):
    one = images(base, lora=lora)
    assert (images(base, lora=[lora, lora], lora_scale=[1, 0]) == one).all()
    assert (images(base, lora=[lora, lora], lora_scale=[1, 1]) != one).any()


def test_an_adapter_is_safetensors_and_of_this_model(base, tmp_path, lora):
    pickled = tmp_path / "lora.bin"
    pickled.write_bytes(pickle.dumps({}))
    with pytest.raises(SecurityRefused, match=r"must be a \.safetensors file"):
        find_adapter(pickled)
    with pytest.raises(UsageError, match=r"found none; what is pickled is not read"):
        find_adapter(tmp_path)
    with pytest.raises(UsageError, match="there is no adapter"):
        find_adapter(tmp_path / "no.safetensors")
    other = tmp_path / "other.safetensors"
    save_file({"lora.elsewhere.lora_A.weight": torch.ones(2, 2)}, other)
    with pytest.raises(DataRefused, match=r"is no LoRA of this model|does not fit"):
        images(base, lora=other)
    other.write_bytes(b"nothing of the kind")
    with pytest.raises(DataRefused, match="is no safetensors"):
        find_adapter(other)


@pytest.mark.parametrize("scale", [[1.0], "1", 101, True, [1, None]])
def test_scales_are_one_or_one_each(scale):
    with pytest.raises(UsageError, match="lora_scale must be a number from -100"):
        scales_of(scale, 2)


@pytest.mark.parametrize("how", ["by name", "listed", "file", "folder"])
def test_a_learned_word_is_read_and_on_record(base, tmp_path, how):
    path = tmp_path / "scratch.safetensors"
    save_file({"emb_params": torch.full((1, 16), 3.0)}, path)
    given = {
        "by name": {"<scratch>": path}, "listed": [path], "file": str(path),
        "folder": tmp_path,
    }[how]  # fmt: skip
    pipeline = PretrainedPipeline.open(
        base, prompt="a <scratch>", steps=2, embeddings=given
    )
    plain = images(base, prompt="a")

    assert (pipeline.generate([1]) != plain).any()
    assert (pipeline.generate([1], prompt="a") == plain).all()
    assert list(pipeline.describe()["params"]["embeddings"]) == ["<scratch>"]


def test_several_vectors_stand_for_one_word(base, tmp_path):
    path = tmp_path / "e.safetensors"
    save_file({"<two>": torch.full((2, 16), 3.0)}, path)
    pipeline = PretrainedPipeline.open(base, steps=2, embeddings=[path])
    one = pipeline.generate([1], prompt="a <two>")

    assert (one != pipeline.generate([1], prompt="a")).any()
    with pytest.raises(UsageError, match="has 78 tokens"):
        pipeline.generate([1], prompt="<two> " * 38)


def test_a_word_of_another_model_or_that_is_there_is_refused(base, tmp_path):
    path = tmp_path / "e.safetensors"
    save_file({"<wide>": torch.ones(1, 768)}, path)
    with pytest.raises(DataRefused, match=r"vectors \[1, 768\].*vectors of 16"):
        images(base, embeddings=[path])
    save_file({"cat</w>": torch.ones(1, 16)}, path)
    with pytest.raises(UsageError, match="is there already"):
        images(base, embeddings=[path])
    save_file({"a": torch.ones(1, 16), "b": torch.ones(1, 16)}, path)
    with pytest.raises(DataRefused, match="holds 2 tensors, and an embedding is one"):
        images(base, embeddings=[path])
