"""The card says what the folder says, in a form that the Hub reads."""

import json

import pytest
import torch
import yaml
from safetensors.torch import save_file

import fiberaug
from fiberaug.errors import DataRefused
from fiberaug.hub.cards import cell
from fiberaug.hub.licences import licence_fields
from fiberaug.hub.preparing import prepare


def card_of(folder, **more):
    return prepare(folder, "me/thing", progress=False, **more).card


def front_of(card):
    _, front, body = card.split("---\n", 2)
    return yaml.safe_load(front), body


@pytest.mark.parametrize("kind", ["model", "pool", "dataset"])
def test_the_client_of_the_hub_reads_the_front_matter(kind, request):
    from huggingface_hub import DatasetCard, ModelCard

    card = card_of(request.getfixturevalue(kind), licence="MIT")
    reads = ModelCard if kind == "model" else DatasetCard
    data = reads(card).data.to_dict()
    assert data["license"] == "mit"
    assert ("synthetic" in data["tags"]) == (kind != "dataset")


def test_a_models_card_has_its_data_options_figures_and_licence(model):
    front, body = front_of(card_of(model))
    assert front["license"] == "cc0-1.0"
    assert front["library_name"] == "fiberaug"
    for said in ("f" * 64, "rpgan", "4000", "0.0123", "ant, bee, cat", "8x8"):
        assert said in body
    assert "loss_critic" not in body, "figures of a judge alone are told"
    digest = json.loads((model / "generator.json").read_text())["sha256"]
    assert digest in body


def test_a_pools_card_has_what_was_asked_for_and_became_of_it(pool):
    front, body = front_of(card_of(pool))
    told = fiberaug.Pool.open(pool)
    assert front["size_categories"] == ["n<1K"]
    assert front["license"] == "cc0-1.0", "as its generator says"
    for said in (told.generator["sha256"], "trainedAlgorithmicMedia", "8x8", "bee 2"):
        assert said in body


def test_a_sets_card_has_the_fingerprint_that_trainings_note(dataset):
    _, body = front_of(card_of(dataset))
    source = fiberaug.StreamingDataset(str(dataset))
    assert source.shard_set.fingerprint in body
    assert "| samples | 24 |" in body


def test_the_loading_code_of_a_card_is_python(model, pool, dataset):
    for folder in (model, pool, dataset):
        code = card_of(folder).split("```python\n")[1].split("```")[0]
        compile(code, "card", "exec")
        assert "me/thing" in code


def test_the_files_of_a_card_are_those_that_are_sent(dataset):
    parcel = prepare(dataset, "me/thing", progress=False)
    listed = parcel.card.split("## Files")[1]
    for item in parcel.items:
        assert item.path in listed or item.path == "README.md"


def test_names_that_are_markup_stay_text(tmp_path):
    evil = '<img src="x">|`](http://x)\n# head'
    with fiberaug.ShardWriter(tmp_path / "set", classes=(evil, "b")) as writer:
        writer.write({"__key__": "0", "cls": b"0", "jpg": b"x"})
    body = card_of(tmp_path / "set")
    assert "<img" not in body.replace("\\<img", "")
    assert "\n# head" not in body
    assert cell("a|b\nc") == "a\\|b c"


README = "---\nlicense: mit\ntags: [{}]\n---\n# Mine\n"


def test_the_users_own_card_is_sent_as_it_is(hub, model):
    from fiberaug.hub import push

    own = README.format("synthetic, x")
    (model / "README.md").write_text(own)
    push(model, "me/gan", progress=False)
    assert hub.files("me/gan")["README.md"].decode() == own
    assert (model / "README.md").read_text() == own


@pytest.mark.parametrize(
    ("text", "match"),
    [("# Mine\n", "no front matter"), ("---\na: [\n---\n", "is no YAML"),
     ("---\n- a\n---\n", "names with values"), (README.format("x"), "tag synthetic"),
     ("---\ntags: synthetic\n---\n", "list of texts"), ("---\na: 1\n", "no front"),
     ("", "no front matter")],
)  # fmt: skip
def test_a_card_of_the_user_that_the_hub_cannot_read_is_refused(model, text, match):
    (model / "README.md").write_text(text)
    with pytest.raises(DataRefused, match=match):
        card_of(model)


def test_a_set_of_photos_needs_no_tag_of_synthetic(dataset):
    (dataset / "README.md").write_text(README.format("x"))
    assert "# Mine" in card_of(dataset)


@pytest.mark.parametrize(
    ("said", "fields"),
    [("Apache-2.0", {"license": "apache-2.0"}), (None, {}), (" ", {}),
     ("CC0", {"license": "cc0-1.0"}),
     ("Ours, not yours", {"license": "other", "license_name": "ours--not-yours"})],
)  # fmt: skip
def test_a_licence_is_one_that_the_hub_knows_or_other(said, fields):
    assert licence_fields(said) == fields


def test_an_adapters_card_names_its_base_on_the_hub_and_no_folder(tmp_path, model):
    folder = tmp_path / "lora"
    folder.mkdir()
    content = (model / "generator.safetensors").read_bytes()
    (folder / "pytorch_lora_weights.safetensors").write_bytes(content)
    front, body = front_of(card_of(folder))
    assert "lora" in front["tags"]
    assert "base_model" not in front
    for base, there in [("org/base", "org/base"), ("/home/me/base", None)]:
        said = {
            "kind": "lora", "base": {"name": base, "sha256": "b" * 64},
            "prompts": ["a photo of a sks ant"], "size": [64, 48],
            "notes": {"trained_on": {"fingerprint": "f" * 64}, "options": {"rank": 8}},
        }  # fmt: skip
        (folder / "generator.json").write_text(json.dumps(said))
        front, body = front_of(card_of(folder))
        assert front.get("base_model") == there
        assert "/home/me" not in body
        for told in ("b" * 64, "f" * 64, "a photo of a sks ant", "64x48", "| rank | 8"):
            assert told in body


def test_a_learned_words_card_says_how_it_is_loaded(tmp_path):
    folder = tmp_path / "word"
    folder.mkdir()
    save_file({"<ant>": torch.ones(1, 4)}, folder / "learned_embeds.safetensors")
    said = {"v": 1, "kind": "lora", "token": "<ant>", "base": {"name": "org/base"}}
    (folder / "generator.json").write_text(json.dumps(said))
    front, body = front_of(card_of(folder))
    assert front["base_model"] == "org/base"
    assert "textual-inversion" in front["tags"]
    assert "lora" not in front["tags"]
    assert "token='<ant>', weight_name=\"learned_embeds.safetensors\"" in body
    said |= {"token": "<ant>')\nimport os  # "}
    (folder / "generator.json").write_text(json.dumps(said))
    with pytest.raises(DataRefused, match="the word must be like <thing>"):
        card_of(folder)
