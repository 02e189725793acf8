"""Laws of opening generators: folders name kinds, never code."""

import json

import pytest
from generators import Shapes

import fiberaug
from fiberaug.errors import DataRefused, LimitExceeded, UsageError
from fiberaug.synthetic import loading
from fiberaug.synthetic.loading import load_code, open_generator, register


@pytest.fixture
def shapes(monkeypatch):
    """The kind ``shapes``, known for one test."""
    monkeypatch.setattr(loading, "_kinds", {})
    register("shapes", lambda folder, said: Shapes(tuple(said["size"])))


def folder(tmp_path, content):
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "generator.json").write_text(text)
    return tmp_path


def test_a_folder_of_a_known_kind_is_opened(tmp_path, shapes):
    said = {"v": 1, "kind": "shapes", "size": [8, 9]}
    generator = fiberaug.load(folder(tmp_path, said))

    assert generator.size == (8, 9)
    assert open_generator(tmp_path).size == (8, 9)


def test_a_kind_is_registered_once(shapes):
    with pytest.raises(UsageError, match="'shapes' of generators is there"):
        register("shapes", lambda folder, said: Shapes())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"v": 1, "kind": "generators:make_shapes"}, "of kind .*gan-own, lora, shap"),
        ({"v": 1}, "of kind None"),
        ({"v": 1, "kind": ["shapes"]}, "of kind"),
        ({"v": 2, "kind": "shapes"}, "has version 2, this release reads 1"),
        ({"v": True, "kind": "shapes"}, "must be an object"),
        ({"kind": "shapes"}, "must be an object"),
        ([], "must be an object"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
    ],
)  # fmt: skip
def test_what_a_stranger_wrote_is_refused(tmp_path, shapes, content, message):
    with pytest.raises(DataRefused, match=message):
        fiberaug.load(folder(tmp_path, content))


def test_a_large_file_is_not_read(tmp_path, shapes):
    with pytest.raises(LimitExceeded, match="larger than 1048576 bytes"):
        fiberaug.load(folder(tmp_path, " " * (2**20 + 1)))


def test_a_folder_without_a_generator_says_so(tmp_path):
    with pytest.raises(UsageError, match=r"holds no generator: there is no gen"):
        fiberaug.load(tmp_path)
    with pytest.raises(UsageError, match="is no folder"):
        fiberaug.load(tmp_path / "nothing")


def test_code_is_named_by_the_user():
    assert isinstance(load_code("generators:make_shapes"), Shapes)
    assert isinstance(open_generator("generators:Shapes"), Shapes)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("generators", "is no folder"),
        ("generators:", "a folder or module:function"),
        (":make", "a folder or module:function"),
        ("no_such_module:make", "cannot import no_such_module:make"),
        ("generators:nothing", "cannot import generators:nothing"),
        ("builtins:dict", "builtins.dict has no method generate"),
        ("json:loads", "without being given anything: missing a required argument"),
    ],
)
def test_a_name_that_makes_no_generator_is_refused(spec, message):
    with pytest.raises(UsageError, match=message):
        open_generator(spec)


@pytest.mark.parametrize(
    ("more", "how"),
    [({}, "lora='.*--lora"), ({"token": "<x>"}, "embeddings='.*--embedding")],
)
def test_adapters_and_words_say_how_they_are_opened(tmp_path, more, how):
    said = {"v": 1, "kind": "lora", "base": {"name": "sd", "sha256": "0" * 64}, **more}
    (tmp_path / "generator.json").write_text(json.dumps(said))
    with pytest.raises(UsageError, match=rf"sd, sha256 000000000000.*{how}"):
        fiberaug.load(tmp_path)
