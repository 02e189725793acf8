"""The published schemas say what a run writes, no more and no less."""

import json
from importlib import resources

import albumentations as A
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from sets import cut_jpeg, photo, samples

import fiberaug
from fiberaug.making import Failure
from fiberaug.record import Record
from fiberaug.runlog_frames import read_lines

NAMES = ("record", "loss", "pass", "quarantine", "manifest")
PIPELINE = A.Compose(
    [
        A.RandomResizedCrop((24, 24)),
        A.SomeOf([A.ColorJitter(p=1), A.GaussNoise(p=1), A.ElasticTransform(p=1)], n=2),
        A.Normalize(),
    ]
)


def schema(name):
    """A schema as whoever has installed the package reads it."""
    path = resources.files("fiberaug") / "schema" / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8"))


VALIDATORS = {name: Draft202012Validator(schema(name)) for name in NAMES}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What a run wrote, by schema: one of two broken samples, and with losses."""

    def content():
        for i, sample in enumerate(samples(24)):
            image = cut_jpeg(i) if i in {3, 11} else photo(i, 120, 160)
            yield {**sample, "image": image}

    folder = tmp_path_factory.mktemp("schema")
    fiberaug.convert(content(), folder / "set", progress=False)
    found = {name: [] for name in NAMES}
    for transform, train in ((PIPELINE, True), (None, False)):
        run = folder / f"{train}"
        dataset = fiberaug.StreamingDataset(
            folder / "set", transform=transform, train=train, seed=2**64 - 1
        )
        with fiberaug.DataLoader(dataset, 8, log=run) as loader:
            for batch in loader:
                values = batch["label"].float() / batch["label"]  # nan where 0
                loader.log.attach(batch, values)
                found["record"] += [json.loads(r.to_json()) for r in batch["record"]]
        for _, line in read_lines(loader.log.path):
            data = json.loads(line)
            kind = {"v": "record", "loss": "loss", "started_s": "pass"}
            found[next(kind[name] for name in kind if name in data)].append(data)
        text = (run / "quarantine.jsonl").read_text(encoding="utf-8")
        found["quarantine"] += map(json.loads, text.splitlines())
        found["manifest"].append(json.loads((run / "manifest.json").read_bytes()))
    return found


def is_valid(name, data):
    return VALIDATORS[name].is_valid(data)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_valid_and_has_a_name_and_a_word_for_each_field(name):
    data = schema(name)
    Draft202012Validator.check_schema(data)

    assert data["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert data["$id"] == f"urn:fiberaug:{name}:1"
    assert data["title"]
    nodes = [data]
    while nodes:
        node = nodes.pop()
        fields = node.get("properties", {})
        assert all(field["description"].endswith(".") for field in fields.values())
        assert set(node.get("required", ())) <= set(fields)
        nodes += [*fields.values(), *([node["items"]] if "items" in node else [])]


@pytest.mark.parametrize("name", NAMES)
def test_what_a_run_writes_is_what_the_schema_says(written, name):
    assert len(written[name]) >= 2
    for data in written[name]:
        VALIDATORS[name].validate(data)


def test_the_runs_wrote_what_is_rare(written):
    """Without this the laws above could hold of plain lines alone."""
    assert any(r["visit"] for r in written["record"])
    assert any(r["decode"]["shape"] == [] for r in written["record"])
    assert {q["key"] for q in written["quarantine"]} == {"k003", "k011"}
    assert {"nan", 1.0} <= {line["loss"] for line in written["loss"]}


def test_the_schemas_list_the_fields_of_the_program():
    assert list(schema("record")["properties"]) == list(Record.__slots__)
    assert list(schema("quarantine")["properties"]) == list(Failure._fields)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "manifest"])
def test_a_line_with_a_field_too_few_or_too_many_is_refused(written, name):
    data = written[name][0]
    for field in data:
        assert not is_valid(name, {k: v for k, v in data.items() if k != field})
    assert not is_valid(name, {**data, "colour": 1})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("v", 2), ("v", "1"), ("key", None), ("url", "a/b.tar"), ("url", ""),
        ("index", -1), ("index", 0.5), ("uid", "0" * 15), ("uid", "A" * 16),
        ("uid", 7), ("position", -1), ("position", "3"), ("visit", -1),
        ("view", None), ("epoch", -1), ("epoch", True), ("seed", 2**64),
        ("seed", -1), ("origin", ""), ("decode", {}), ("decode", []),
        ("applied_transforms", {}), ("applied_transforms", ["Flip"]),
        ("applied_transforms", [{"path": "0", "name": "Flip"}]),
        ("applied_transforms", [{"path": "0", "name": "", "params": {}}]),
        ("applied_transforms", [{"path": "0", "name": "F", "params": []}]),
        ("applied_transforms", [{"path": 0, "name": "F", "params": {}}]),
        ("applied_transforms", [{"path": "", "name": "F", "params": {}, "p": 1}]),
        ("batch", {"unit": 0, "row": 0}), ("recipe", ""), ("environment", None),
        ("replayable", 1), ("pixels", None), ("pixels", "0" * 15),
        ("pixels", "x" * 16),
    ],
)  # fmt: skip
def test_a_record_with_a_wrong_value_is_refused(written, field, value):
    with pytest.raises(ValidationError):
        VALIDATORS["record"].validate({**written["record"][0], field: value})


@pytest.mark.parametrize(
    ("place", "field", "value"),
    [
        ("decode", "shape", [8, 9]), ("decode", "shape", [8, 9, 0]),
        ("decode", "shape", None), ("decode", "orientation", 9),
        ("decode", "decoder", ""), ("decode", "colour", "rgb"),
        ("batch", "unit", -1), ("batch", "row", None), ("batch", "partners", {}),
        ("batch", "colour", 1),
    ],
)  # fmt: skip
def test_a_record_with_a_wrong_value_inside_is_refused(written, place, field, value):
    data = written["record"][0]

    assert not is_valid("record", {**data, place: {**data[place], field: value}})


def test_a_record_may_have_a_hash_of_its_pixels(written):
    assert is_valid("record", {**written["record"][0], "pixels": "0123456789abcdef"})


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("loss", "loss", None), ("loss", "loss", "none"), ("loss", "uid", ""),
        ("loss", "position", -1), ("pass", "started_s", "now"),
        ("quarantine", "attempt", 17), ("quarantine", "offset", -1),
        ("quarantine", "uid", 255), ("quarantine", "reason", None),
        ("quarantine", "shard", ""), ("manifest", "shards", []),
        ("manifest", "fingerprint", "00"), ("manifest", "plan", {}),
        ("manifest", "train", "yes"), ("manifest", "recipe", {"cpu": None}),
        ("manifest", "environment", {"numpy": 2}), ("manifest", "v", 2),
    ],
)  # fmt: skip
def test_other_lines_with_a_wrong_value_are_refused(written, name, field, value):
    assert not is_valid(name, {**written[name][0], field: value})


def test_a_manifest_of_a_later_release_has_more_and_never_less(written):
    data = written["manifest"][0]

    assert is_valid("manifest", {**data, "x": 2, "recipe": {**data["recipe"], "x": 1}})
    for field in schema("manifest")["required"]:
        assert not is_valid("manifest", {k: v for k, v in data.items() if k != field})


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_what_the_schema_lets_pass_is_read_as_a_record(written, data):
    """The schema is not looser than the program: whatever replaces a field."""
    record = data.draw(st.sampled_from(written["record"]))
    field = data.draw(st.sampled_from(sorted(record)))
    value = data.draw(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3)
        | st.lists(st.none(), max_size=1) | st.dictionaries(st.text(), st.none())
    )  # fmt: skip
    changed = {**record, field: value}
    if is_valid("record", changed):
        assert json.loads(Record.from_dict(changed).to_json()) == changed
