"""Folders that try to run something, or to lead elsewhere, are refused by name.

Each payload leaves a marker where it runs.
"""

import json
import pickle
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest
import torch

from fiberaug.errors import DataRefused, LimitExceeded, SecurityRefused, UsageError
from fiberaug.models import extras
from fiberaug.pretrained import PretrainedPipeline
from fiberaug.pretrained.folders import inspect_controlnet, load_pipeline

CODE = """
from pathlib import Path
Path({marker!r}).touch()
class Own:
    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        return cls()
"""


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


@pytest.fixture
def folder(base, tmp_path):
    return copytree(base, tmp_path / "model")


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "executed"


def change(path, **values):
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | values))


def pickled(folder, marker):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    path = weights.with_suffix(".bin")
    path.write_bytes(pickle.dumps({"w": Bomb(marker)}))
    pickle.loads(path.read_bytes())


def own_pipeline(folder, marker):
    code = folder / "pipeline.py"
    code.write_text(CODE.format(marker=str(marker)))
    change(folder / "model_index.json", _class_name=["pipeline", "Own"])
    run(code)


def own_component(name):
    def write(folder, marker):
        code = folder / name / "own.py"
        code.write_text(CODE.format(marker=str(marker)))
        change(folder / "model_index.json", **{name: ["own", "Own"]})
        run(code)

    return write


def hidden_code(folder, marker):
    """The table alone: there is no code in the folder, but on the path of Python."""
    change(folder / "model_index.json", unet=["subprocess", "Popen"])
    run_text(CODE.format(marker=str(marker)))


def auto_map(folder, marker):
    code = folder / "text_encoder" / "modeling.py"
    code.write_text(CODE.format(marker=str(marker)))
    change(
        folder / "text_encoder" / "config.json", auto_map={"AutoModel": "modeling.Own"}
    )
    run(code)


def run(code):
    """Show that the payload is a real one."""
    subprocess.run([sys.executable, str(code)], check=True)


def run_text(text):
    subprocess.run([sys.executable, "-c", text], check=True)


@pytest.mark.parametrize(
    "write",
    [pickled, own_pipeline, own_component("scheduler"), own_component("unet"),
     own_component("text_encoder"), hidden_code, auto_map],
    ids=["pickled", "pipeline", "scheduler", "unet", "text", "module", "auto_map"],
)  # fmt: skip
def test_what_would_run_is_refused_and_does_not(folder, marker, write):
    write(folder, marker)
    assert marker.exists(), "the payload was a real one"
    marker.unlink()

    for opened in (load_pipeline, PretrainedPipeline.open):
        with pytest.raises(SecurityRefused):
            opened(folder)
    assert not marker.exists()


def test_what_is_pickled_beside_safetensors_is_not_read(folder, marker):
    for name in ("unet", "text_encoder", "vae"):
        for file in ("diffusion_pytorch_model.bin", "pytorch_model.bin"):
            path = folder / name / file
            path.write_bytes(pickle.dumps({"w": Bomb(marker)}))
    (folder / "v1-5.ckpt").write_bytes(pickle.dumps(Bomb(marker)))
    made = PretrainedPipeline.open(folder, prompt="a cat", steps=2).generate([1])

    assert made.std() > 0
    assert not marker.exists()
    pickle.loads((folder / "v1-5.ckpt").read_bytes())
    assert marker.exists()


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("model_index.json", {"_class_name": "FluxPipeline"}, "of the pipeline 'Flux"),
        ("model_index.json", {"unet": ["diffusers", "FluxModel"]}, "takes 'unet'"),
        ("model_index.json", {"more": ["diffusers", "AutoencoderKL"]}, "takes 'more'"),
        ("model_index.json", {"custom_pipeline": "me/mine"}, "leads to code"),
        ("unet/config.json", {"_class_name": "Own"}, "is of the class 'Own'"),
        ("unet/config.json", {"auto_map": {"AutoModel": "a/b--c.D"}}, "'auto_map'"),
        ("text_encoder/config.json", {"deep": {"auto_map": {"a": "b"}}}, "auto_map"),
        ("text_encoder/config.json", {"_attn_implementation": "me/kernel"}, "leads to"),
        ("text_encoder/config.json", {"quantization_config": {"x": 1}}, "leads to"),
        ("tokenizer/tokenizer_config.json", {"auto_map": {"Auto": "a"}}, "leads"),
    ],
)  # fmt: skip
def test_configs_that_name_something_else_are_refused(folder, file, values, message):
    change(folder / file, **values)
    with pytest.raises(SecurityRefused, match=message):
        load_pipeline(folder)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("unet/config.json", {"cross_attention_dim": 10**9}),
        ("unet/config.json", {"layers_per_block": 100_000}),
        ("text_encoder/config.json", {"num_hidden_layers": 10_000}),
    ],
)
def test_numbers_that_no_model_has_are_refused(folder, file, values):
    change(folder / file, **values)
    with pytest.raises(LimitExceeded):
        load_pipeline(folder)


def test_an_adapter_that_a_library_would_follow_is_refused(folder):
    path = folder / "text_encoder" / "adapter_config.json"
    path.write_text(json.dumps({"base_model_name_or_path": "me/mine"}))
    with pytest.raises(SecurityRefused, match="leads to weights elsewhere"):
        load_pipeline(folder)


def test_a_link_out_of_the_folder_is_refused_and_one_within_is_not(folder, tmp_path):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    moved = weights.rename(folder / "weights.safetensors")
    weights.symlink_to(moved)
    load_pipeline(folder)

    weights.unlink()
    weights.symlink_to(moved.rename(tmp_path / "elsewhere.safetensors"))
    with pytest.raises(SecurityRefused, match="a link that leads out"):
        load_pipeline(folder)


def test_parts_of_weights_are_files_beside_the_list(folder):
    listed = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    listed.write_text(json.dumps({"weight_map": {"a": "../../elsewhere.safetensors"}}))
    with pytest.raises(SecurityRefused, match="must name files of safetensors beside"):
        load_pipeline(folder)


def test_what_is_broken_is_said_in_one_line(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    with pytest.raises(
        DataRefused, match="cannot be read as a StableDiffusionPipeline"
    ):
        load_pipeline(folder)
    weights.write_bytes(content)
    (folder / "vae" / "config.json").write_text("{")
    with pytest.raises(DataRefused, match="is not JSON"):
        load_pipeline(folder)
    (folder / "model_index.json").unlink()
    with pytest.raises(DataRefused, match=r"there is no model_index\.json"):
        load_pipeline(folder)


def test_a_component_that_is_missing_is_named(folder):
    change(folder / "model_index.json", vae=[None, None])
    with pytest.raises(DataRefused, match="names no vae"):
        load_pipeline(folder)


def test_a_controlnet_is_of_its_class_and_of_the_model(controlnet, tmp_path, base):
    with pytest.raises(SecurityRefused, match="a ControlNetModel is asked for"):
        inspect_controlnet(base / "unet")
    other = copytree(controlnet, tmp_path / "other")
    (other / "run.py").write_text("")
    with pytest.raises(SecurityRefused, match="is code"):
        inspect_controlnet(other)


def test_a_release_of_diffusers_that_runs_code_is_refused(monkeypatch, base):
    import diffusers

    for release, fine in [("0.37.1", False), ("0.38.0", True), ("1.0.dev0", True)]:
        monkeypatch.setattr(diffusers, "__version__", release)
        if fine:
            assert extras.import_diffusers() is diffusers
            continue
        with pytest.raises(
            UsageError, match=f"diffusers {release} is installed.*CVE-202"
        ):
            load_pipeline(base)


def test_loading_leaves_the_generator_of_the_user_as_it_was(base):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    load_pipeline(base)
    assert (torch.random.get_rng_state() == before).all()
