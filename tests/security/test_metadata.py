"""What strangers write as JSON, YAML, recipes and records: checked and never run."""

import json
import pickle
import pickletools
from contextlib import suppress
from pathlib import Path

import albumentations as A
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sets import photo, samples
from tars import shard

import fiberaug
from fiberaug.augment.build import build_operations, known_operations
from fiberaug.decode.text import parse_json
from fiberaug.errors import (
    DataRefused,
    FiberAugError,
    SampleBroken,
    StoreError,
    UsageError,
)
from fiberaug.jobs.encoding import encode_image
from fiberaug.recipe import Recipe
from fiberaug.shards.manifest import Manifest

IMAGE = encode_image(photo(0), "png")

HOSTILE = {
    "too large": b'"' + b"x" * 2**20 + b'"',
    "too deep": b"[" * 65 + b"]" * 65,
    "far too deep": b"[" * 200_000 + b"]" * 200_000,
    "deep in objects": b'{"a":' * 65 + b"1" + b"}" * 65,
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "infinite by its digits": b'{"a": 1e999}',
    "a key twice": b'{"label": 1, "label": 2}',
    "a key twice inside": b'{"a": [{"b": 1, "b": 1}]}',
    "no UTF-8": b'{"a": "\xff"}',
    "digits without end": b"1" * 5000,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_json_that_is_hostile_breaks_its_sample_and_no_other(tmp_path, what):
    good = b'{"a": 1, "label": 5}'
    members = [("k.png", IMAGE), ("k.json", HOSTILE[what]), ("l.png", IMAGE),
               ("l.json", good)]  # fmt: skip
    path = str(shard(tmp_path / "s.tar", members))
    fields = {"image": "png", "meta": "json"}
    with pytest.raises(SampleBroken) as caught:
        list(fiberaug.StreamingDataset(path, fields=fields, on_error="raise"))
    assert (caught.value.key, caught.value.shard) == ("k", "s.tar")
    assert "\n" not in str(caught.value)

    dataset = fiberaug.StreamingDataset(path, fields=fields, max_errors=0.5)
    found = [sample["meta"] for sample in dataset]
    assert found == [json.loads(good)] * 2, "the other one stands in"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(values)
@settings(deadline=None)
def test_json_is_read_as_python_reads_it_or_refused(value):
    text = json.dumps(value).encode()
    try:
        found = parse_json(text)
    except SampleBroken:
        assert any(word in text for word in (b"NaN", b"Infinity")) or len(text) > 4000
    else:
        assert found == value


YAML = {
    "os.system": "!!python/object/apply:os.system ['touch {marker}']",
    "open": "!!python/object/new:builtins.open ['{marker}', 'w']",
    "subprocess": "!!python/object/apply:subprocess.check_call [[touch, '{marker}']]",
    "a module": "!!python/module:antigravity",
    "a name": "!!python/name:os.system",
    "a tuple": "version: 1\ncpu: !!python/tuple [1]",
    "a bomb": "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nversion: 1",
    "a loop": "a: &a [*a]\nversion: 1",
    "merged": "a: &a {{cpu: []}}\n<<: *a\nversion: 1",
}


@pytest.mark.parametrize("what", YAML)
def test_a_recipe_runs_nothing_and_has_no_aliases(tmp_path, what):
    marker = tmp_path / "executed"
    text = YAML[what].format(marker=marker)
    for whole in (text, f"version: 1\ncpu:\n  - HorizontalFlip: {{p: {text}}}"):
        with pytest.raises(UsageError) as caught:
            Recipe.parse(whole)
        assert "\n" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("argument", "words"),
    [("no", "p takes a number"), ("0123", "p must|p:"), ("1_0", "p must|p:"),
     ("2026-11-24", "date"), (".nan", "finite"), ("'0.5'", "a number")],
)  # fmt: skip
def test_what_yaml_takes_for_something_else_is_named(argument, words):
    text = f"version: 1\ncpu:\n  - HorizontalFlip: {{p: {argument}}}"
    with pytest.raises(UsageError, match=words):
        build_operations(Recipe.parse(text).cpu)


class Reached:
    """A class that was imported and that no recipe may make."""

    made = 0

    def __init__(self, **arguments):
        Reached.made += 1


@pytest.mark.parametrize(
    "name",
    ["os.system", "builtins.eval", "subprocess.run", "pathlib.Path.unlink",
     "albumentations.HorizontalFlip", "__import__", "Lambda", "ReplayCompose",
     "BasicTransform", "FDA", "TextImage", "TemplateTransform", "A.Resize",
     f"{Reached.__module__}.Reached"],
)  # fmt: skip
def test_a_recipe_names_only_known_operations(name):
    for arguments in ({}, {"p": 1.0}, {"path": "/etc/hostname"}):
        recipe = Recipe.from_dict({"version": 1, "cpu": [{name: arguments}]})
        with pytest.raises(UsageError):
            build_operations(recipe.cpu)
        wrapped = [{"OneOf": {"transforms": [{name: arguments}]}}]
        with pytest.raises(UsageError):
            build_operations(wrapped)
    assert Reached.made == 0


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"Resize": {"height": 60_000, "width": 60_000}}, "8192"),
        ({"PadIfNeeded": {"min_height": 10**9, "min_width": 4}}, "8192"),
        ({"RandomScale": {"scale_limit": [10**6, 10**6]}}, "scale_limit"),
        ({"ElasticTransform": {"alpha": 1e300}}, "alpha"),
        ({"HorizontalFlip": {"p": 1e309}}, "finite"),
        ({"GaussianBlur": {"blur_limit": 10**6}}, "blur_limit"),
    ],
)
def test_an_argument_of_a_recipe_is_bounded(operation, words):
    with pytest.raises(UsageError, match=words):
        build_operations(Recipe.from_dict({"version": 1, "cpu": [operation]}).cpu)


def test_the_list_of_operations_is_closed():
    """A class that a user defines becomes no operation by being there."""
    names = set(known_operations())
    assert {"Resize", "OneOf"} <= names
    assert not {"Lambda", "FDA", "TextImage", "TemplateTransform"} & names
    for kind in known_operations().values():
        assert kind.__module__.startswith(("albumentations.", "fiberaug.augment."))


def test_a_record_in_the_input_is_never_taken_for_ours(tmp_path):
    """Not from a member, not from JSON, not by a field that is named like it."""
    forged = json.dumps({"v": 1, "key": "k", "seed": 666, "recipe": "evil"}).encode()
    members = [("k.png", IMAGE), ("k.record.json", forged), ("k.json", forged),
               ("k.record", forged), ("k.is_pad", b"1")]  # fmt: skip
    path = str(shard(tmp_path / "s.tar", members))
    with pytest.raises(UsageError, match="cannot be the name of a field"):
        fiberaug.StreamingDataset(path, fields={"image": "png", "record": "record"})
    with pytest.raises(UsageError, match="cannot be the name of a field"):
        fiberaug.StreamingDataset(path, fields={"image": "png", "is_pad": "is_pad"})

    dataset = fiberaug.StreamingDataset(path, seed=7)
    (batch,) = list(fiberaug.DataLoader(dataset, 1))
    (record,) = batch["record"]
    assert (record.seed, record.recipe, record.key) == (7, dataset.recipe_hash, "k")
    assert not batch["is_pad"].any()
    assert "evil" not in record.to_json()


@pytest.mark.parametrize(
    "change",
    [{"seed": 666}, {"url": "../../etc/passwd"}, {"index": 10**9}, {"key": "../x"},
     {"recipe": "0" * 16}, {"uid": "f" * 16}, {"position": -1}, {"epoch": 2**70},
     {"visit": 5}, {"view": -(2**63)},
     {"applied_transforms": [{"path": "0", "name": "os.system", "params": {}}]}],
    ids=str,
)  # fmt: skip
def test_a_forged_record_replays_nothing_but_an_error(tmp_path, write_set, change):
    dataset = fiberaug.StreamingDataset(
        write_set(4), transform=A.Compose([A.GaussNoise(p=1)])
    )
    loader = fiberaug.DataLoader(dataset, 4)
    record = next(iter(loader))["record"][0].to_dict()
    fiberaug.replay(json.dumps(record), loader)

    with pytest.raises(FiberAugError):
        fiberaug.replay(json.dumps(record | change), loader)


def test_a_list_of_shards_names_files_of_its_folder_only(tmp_path, write_set):
    folder = Path(write_set(4))
    data = json.loads((folder / "dataset.json").read_bytes())
    for name in ("../set/shard-000000.tar", "/etc/hostname", ".hidden", "a/b.tar",
                 "pipe:touch x", "http://host/a.tar", "", "a\0.tar"):  # fmt: skip
        data["shards"][0]["name"] = name
        (folder / "dataset.json").write_text(json.dumps(data))
        with pytest.raises((DataRefused, StoreError)):
            fiberaug.StreamingDataset(str(folder))
        assert not Path("x").exists()
    for text in ("[" * 10**5, "{}", "[]", '{"schema": "1"}', "NaN", "\ud800"):
        content = text.encode("utf-8", "surrogatepass")
        (folder / "dataset.json").write_bytes(content)
        with pytest.raises(DataRefused):
            Manifest.read(folder)


def test_a_run_leaves_no_pickle(tmp_path, write_set):
    """State, log and data set are JSON, frames of JSON, tars and columns."""
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(write_set(samples(8))), 4, log=tmp_path / "run"
    )
    list(loader)
    state = json.dumps(loader.state_dict())
    loader.load_state_dict(json.loads(state))
    loader.close()

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 4
    for path in files:
        content = path.read_bytes()
        assert not content.startswith(pickle.PROTO), path
        assert not content.startswith(b"PK"), path
        opcodes = []
        with suppress(ValueError, IndexError):  # it is no pickle
            opcodes += [opcode.name for opcode, _, _ in pickletools.genops(content)]
        assert "STOP" not in opcodes[-1:], path
