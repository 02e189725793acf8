"""Laws of Hugging Face data sets: files as they are, every column kept or named."""

import io
import json
import pickle
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from conversions import converted, streamed
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from sets import photo

from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.members import mask_member
from fiberaug.jobs.sources.hf import list_hf, looks_like_hf
from fiberaug.jobs.sources.options import SourceOptions

datasets = pytest.importorskip("datasets")
from datasets import (  # noqa: E402
    ClassLabel,
    Dataset,
    DatasetDict,
    Features,
    Image,
    Sequence,
    Value,
)

datasets.disable_progress_bars()
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

COCO = {"bbox_format": "coco"}
BOX = Sequence(Value("float32"), length=4)
INT, TEXT = Value("int64"), Value("string")


def files(count, encoding="jpeg", start=0):
    return [encode_image(photo(start + i), encoding) for i in range(count)]


def saved(path, columns, features=None, split=None):
    """A folder of one data set, or of a split; images are given as files."""
    count = len(next(iter(columns.values())))
    features = {"image": Image(), **(features or {})}
    columns = {"image": [{"bytes": d, "path": None} for d in files(count)], **columns}
    made = Dataset.from_dict(columns, features=Features(features))
    (DatasetDict({split: made}) if split else made).save_to_disk(path)
    return path


def listed(path, columns=None, **options):
    return list_hf(Path(path), SourceOptions(columns=columns or {}, **options))


def members(folder):
    """Members of all samples, by key."""
    found = {}
    for path in sorted(Path(folder).glob("*.tar")):
        with tarfile.open(path) as tar:
            for info in tar:
                key, extension = info.name.split(".", 1)
                found.setdefault(key, {})[extension] = tar.extractfile(info).read()
    return found


def errors(folder):
    path = Path(folder) / "convert_errors.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_splits_classes_and_the_bytes_of_images_are_kept(tmp_path):
    features = Features({"img": Image(), "label": ClassLabel(names=["ant", "bée"])})
    parts = {
        part: Dataset.from_dict(
            {
                "img": [{"bytes": d, "path": "x.jpg"} for d in files(n, encoding, at)],
                "label": [i % 2 for i in range(n)],
            },
            features=features,
        )
        for part, n, encoding, at in (("train", 5, "jpeg", 0), ("test", 2, "png", 50))
    }
    DatasetDict(parts).save_to_disk(tmp_path / "in")
    found = listed(tmp_path / "in")

    assert found.said == "7 rows of train, test: image <- img, label <- label"
    assert found.classes == ("ant", "bée")
    assert found.items[0].size == len(files(1)[0])
    converted(found, tmp_path / "out")
    stored = members(tmp_path / "out")
    assert [*stored] == [f"train/{i:06d}" for i in range(5)] + [
        "test/000000", "test/000001",
    ]  # fmt: skip
    assert [m["jpg"] for m in [*stored.values()][:5]] == files(5)
    assert [m["png"] for m in [*stored.values()][5:]] == files(2, "png", 50)
    samples = streamed(tmp_path / "out").values()
    assert [int(sample["label"]) for sample in samples] == [0, 1, 0, 1, 0, 0, 1]
    told = [json.loads(m["json"]) for m in stored.values()]
    assert told == [{"part": "train"}] * 5 + [{"part": "test"}] * 2


OBJECTS = [
    {"bbox": [[1, 2, 10, 20], [0.5, 0, 3, 4]], "category": [1, 0], "id": [7, 8]},
    {"bbox": [], "category": [], "id": []},
    {"bbox": [[20, 20, 25, 30]], "category": [2], "id": [None]},
]
LABEL = ClassLabel(names=[*"xyz"])
LISTS = Sequence({"bbox": BOX, "category": LABEL, "id": INT})
ROWS = [{"bbox": BOX, "category": LABEL, "id": INT}]


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("kind", ["coco", "voc"])
def test_boxes_are_what_the_user_says_they_are(tmp_path, by_row, kind):
    objects = OBJECTS
    if by_row:
        objects = [
            [dict(zip(o, row, strict=True)) for row in zip(*o.values(), strict=True)]
            for o in OBJECTS
        ]
    path = saved(tmp_path / "in", {"objects": objects, "image_id": [5, 6, 7]},
                 {"objects": ROWS if by_row else LISTS, "image_id": INT})  # fmt: skip
    with pytest.raises(UsageError, match=r"'coco'.* x, y, width, height.*'voc'"):
        listed(path)
    found = listed(path, {"bbox_format": kind})
    assert found.classes == ("x", "y", "z")

    converted(found, tmp_path / "out")

    for i, sample in enumerate(streamed(tmp_path / "out").values()):
        boxes = np.array(OBJECTS[i]["bbox"], np.float32).reshape(-1, 4)
        if kind == "coco":
            boxes[:, 2:] += boxes[:, :2]
        assert np.array_equal(sample["bboxes"], boxes)
        assert np.asarray(sample["bbox_labels"]).tolist() == OBJECTS[i]["category"]
    told = [json.loads(m["json"]) for m in members(tmp_path / "out").values()]
    assert [[one["id"] for one in t["objects"]] for t in told] == [[7, 8], [], [None]]
    assert [t["image_id"] for t in told] == [5, 6, 7]
    assert told[0]["width"] == 48


def test_names_of_objects_become_ids_in_sorted_or_given_order(tmp_path):
    objects = [{"bbox": [[0, 0, 4, 4]] * 3, "label": ["ox", "ant", "ox"]}]
    path = saved(tmp_path / "in", {"objects": objects},
                 {"objects": Sequence({"bbox": BOX, "label": TEXT})})  # fmt: skip
    found = listed(path, COCO)
    assert found.classes == ("ant", "ox")
    assert [one["label"] for one in found.reader(found.items[0]).notes["objects"]] == [
        1, 0, 1,
    ]  # fmt: skip
    found = listed(path, COCO, classes=["ox", "bee", "ant"])
    assert [one["label"] for one in found.reader(found.items[0]).notes["objects"]] == [
        0, 2, 0,
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"\['ant'\] are none of the classes"):
        listed(path, COCO, classes=["ox"])


def test_a_stated_size_that_is_wrong_is_that_rows_error(tmp_path):
    columns = {"objects": OBJECTS, "width": [48, 48, 99], "height": [40, 40, 40]}
    path = saved(tmp_path / "in", columns,
                 {"objects": LISTS, "width": INT, "height": INT})  # fmt: skip
    found = listed(path, COCO)
    converted(found, tmp_path / "out")

    assert [*members(tmp_path / "out")] == ["000000", "000001"]
    (error,) = errors(tmp_path / "out")
    assert (error["key"], "99x40" in error["reason"]) == ("000002", True)


def test_a_second_image_is_the_mask(tmp_path):
    masks = [
        np.random.default_rng(i).integers(0, 5, (40, 48), np.uint8) for i in (0, 1)
    ]
    bmp = io.BytesIO()
    Pillow.fromarray(masks[1]).save(bmp, "bmp")
    stored = [mask_member(masks[0]), bmp.getvalue()]
    path = saved(
        tmp_path / "in",
        {"annotation": [{"bytes": d, "path": None} for d in stored]},
        {"annotation": Image()},
    )
    found = listed(path)
    assert found.fields == {"mask": "mask.png"}
    converted(found, tmp_path / "out")

    assert members(tmp_path / "out")["000000"]["mask.png"] == stored[0]
    for mask, sample in zip(masks, streamed(tmp_path / "out").values(), strict=True):
        assert np.array_equal(sample["mask"], mask)


def test_columns_that_json_holds_stand_there_and_others_are_named(tmp_path):
    when = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    path = saved(
        tmp_path / "in",
        {
            "caption": ["ä", None], "score": [0.5, float("nan")], "n": [1, None],
            "tags": [["a"], []], "box": [{"a": 1, "b": [True]}, None],
            "when": [when, when], "coarse": [1, 0], "label": [0, 1],
            "blob": [b"x", b"y"],
            "depth": [{"bytes": data, "path": None} for data in files(2, "png")],
        },
        {
            "caption": TEXT, "score": Value("float64"), "n": INT,
            "tags": Sequence(TEXT), "box": {"a": INT, "b": Sequence(Value("bool"))},
            "when": Value("timestamp[s, tz=UTC]"),
            "label": ClassLabel(names=["p", "q"]),
            "coarse": ClassLabel(names=["u", "v"]), "blob": Value("binary"),
            "depth": Image(),
        },
    )  # fmt: skip
    found = listed(path)

    assert "left out: blob" in found.said
    assert "further images: depth" in found.said
    assert found.fields == {"label": "cls", "caption?": "txt"}
    assert found.about == {"names": {"coarse": ["u", "v"]}}
    converted(found, tmp_path / "out")
    one, other = members(tmp_path / "out").values()
    assert json.loads(one["json"]) == {
        "score": 0.5, "n": 1, "tags": ["a"], "box": {"a": 1, "b": [True]}, "coarse": 1,
        "when": "2024-05-06T07:08:09+00:00",
    }  # fmt: skip
    assert json.loads(other["json"])["score"] is None
    assert one["txt"].decode() == "ä"
    assert "txt" not in other
    assert one["depth.png"] == files(2, "png")[0]


@pytest.mark.parametrize(
    ("values", "feature", "field", "read"),
    [
        ([1, -1], ClassLabel(names=["a", "b"]), "label?", [1, None]),
        ([1, -1], INT, "label", [1, -1]),
        ([1, None], INT, "label?", [1, None]),
        ([True, False], Value("bool"), "label", [1, 0]),
        ([0.5, -3], Value("float32"), "label", [0.5, -3.0]),
        ([0.5, None], Value("float64"), "label?", [0.5, None]),
        (["ox", "ant"], TEXT, "label", [1, 0]),
        ([[1, 0.5], [0, 1]], Sequence(Value("float32")), "label", [[1, 0.5], [0, 1]]),
        ([[1, 2], [3]], Sequence(INT), None, None),
    ],
    ids=["classes", "ints", "gaps", "bool", "float", "float-gaps", "text", "vector",
         "ragged"],
)  # fmt: skip
def test_labels_of_any_kind_arrive(tmp_path, values, feature, field, read):
    path = saved(tmp_path / "in", {"label": values}, {"label": feature})
    found = listed(path)
    assert [*found.fields] == ([field] if field else [])
    converted(found, tmp_path / "out")

    samples = [*streamed(tmp_path / "out").values()]
    if field is None:
        told = [json.loads(m["json"]) for m in members(tmp_path / "out").values()]
        assert [one["label"] for one in told] == values
        return
    labels = [sample.get("label") for sample in samples]
    assert [None if v is None else np.asarray(v).tolist() for v in labels] == read


@given(st.lists(st.one_of(st.none(), st.integers(-1, 3)), min_size=1, max_size=8))
@settings(max_examples=15, deadline=None)
def test_class_ids_follow_the_names_that_the_user_gives(tmp_path_factory, values):
    names = ["a", "b", "c", "d"]
    path = saved(tmp_path_factory.mktemp("set") / "in", {"y": values},
                 {"y": ClassLabel(names=names)})  # fmt: skip
    found = listed(path, classes=names[::-1])

    assert [item.label for item in found.items] == [
        None if value in {None, -1} else 3 - value for value in values
    ]


def test_what_cannot_be_told_is_asked_for(tmp_path):
    two = {"left": Image(), "right": Image(), "fine": ClassLabel(names=["a"]),
           "coarse": ClassLabel(names=["b"])}  # fmt: skip
    rows = {name: [None] for name in ("left", "right")}
    made = Dataset.from_dict({**rows, "fine": [0], "coarse": [0]}, Features(two))
    made.save_to_disk(tmp_path / "in")

    with pytest.raises(UsageError, match=r"\['left', 'right'\] could all be the image"):
        listed(tmp_path / "in")
    with pytest.raises(
        UsageError, match=r"\['fine', 'coarse'\] could all be the label"
    ):
        listed(tmp_path / "in", {"image": "left"})
    found = listed(tmp_path / "in", {"image": "left", "label": "coarse"})
    assert found.classes == ("b",)
    with pytest.raises(UsageError, match=r"\{'label': 'q'\} are none of"):
        listed(tmp_path / "in", {"image": "left", "label": "q"})
    with pytest.raises(UsageError, match=r"got \['imgae'\]"):
        listed(tmp_path / "in", {"imgae": "left"})
    Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "text")
    with pytest.raises(DataRefused, match="no column is an image"):
        listed(tmp_path / "text")


def test_bytes_without_a_type_are_images_where_the_user_says_so(tmp_path):
    Dataset.from_dict({"data": files(2), "n": [1, 2]}).save_to_disk(tmp_path / "in")
    found = listed(tmp_path / "in", {"image": "data"})
    converted(found, tmp_path / "out")

    assert [m["jpg"] for m in members(tmp_path / "out").values()] == files(2)


def test_a_row_without_an_image_is_that_rows_error(tmp_path):
    columns = {"image": [{"bytes": files(1)[0], "path": None}, None,
                         {"bytes": b"no image", "path": None}]}  # fmt: skip
    saved(tmp_path / "in", columns)
    converted(listed(tmp_path / "in"), tmp_path / "out")

    assert [*members(tmp_path / "out")] == ["000000"]
    assert [error["key"] for error in errors(tmp_path / "out")] == ["000001", "000002"]
    assert "'image' has no image" in errors(tmp_path / "out")[0]["reason"]


def rewritten(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def with_paths(folder, *paths):
    """A data set whose rows name files instead of holding them."""
    import pyarrow as pa

    saved(folder, {"n": [*range(len(paths))]}, {"n": INT})
    (data,) = folder.glob("*.arrow")
    with pa.memory_map(str(data)) as source:
        table = pa.ipc.open_stream(source).read_all()
    rows = [{"bytes": None, "path": path} for path in paths]
    image = pa.array(rows, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    table = table.set_column(table.column_names.index("image"), "image", image)
    data.unlink()
    with (
        pa.OSFile(str(data), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as out,
    ):
        out.write_table(table)
    return folder


def test_files_by_path_are_read_inside_the_folder_only(tmp_path):
    path = with_paths(tmp_path / "in", "a.jpg", "gone.jpg")
    (path / "a.jpg").write_bytes(files(1)[0])
    found = listed(path)
    assert found.items[0].size > len(files(1)[0])  # and the column n
    converted(found, tmp_path / "out")
    assert members(tmp_path / "out")["000000"]["jpg"] == files(1)[0]
    (error,) = errors(tmp_path / "out")
    assert (error["key"], "No such file" in error["reason"]) == ("000001", True)

    (tmp_path / "b.jpg").write_bytes(files(1)[0])
    out = with_paths(tmp_path / "out-of", "../b.jpg")
    with pytest.raises(UsageError, match=r"row 0 .*\.\./b\.jpg, outside of"):
        listed(out)
    found = listed(out, allow_outside=True)
    assert found.reader(found.items[0]).image == files(1)[0]


def test_descriptions_that_leave_the_folder_are_refused(tmp_path):
    saved(tmp_path / "in", {"n": [1]}, {"n": INT}, split="train")
    saved(tmp_path / "other", {"n": [1]}, {"n": INT})
    state = tmp_path / "in" / "train" / "state.json"
    whole = state.read_text()
    rewritten(state, "data-00000", "../../other/data-00000")
    with pytest.raises(DataRefused, match="lies outside of"):
        listed(tmp_path / "in")
    state.write_text(whole[:40])
    with pytest.raises(DataRefused, match=r"state\.json is damaged"):
        listed(tmp_path / "in")
    state.write_text(whole)
    rewritten(tmp_path / "in" / "dataset_dict.json", "train", "../other")
    with pytest.raises(DataRefused, match=r"is damaged|lies outside of"):
        listed(tmp_path / "in")


def test_damage_is_one_error(tmp_path):
    path = saved(tmp_path / "in", {"n": [1]}, {"n": INT})
    (data,) = path.glob("*.arrow")
    data.write_bytes(data.read_bytes()[:200])
    with pytest.raises(DataRefused, match="cannot be read"):
        listed(path)
    with pytest.raises(UsageError, match=r"save_to_disk"):
        listed(tmp_path)


def test_splits_of_other_columns_are_not_one_set(tmp_path):
    parts = {
        "train": Dataset.from_dict({"image": [None], "a": [1]}),
        "test": Dataset.from_dict({"image": [None], "b": [1]}),
    }
    DatasetDict(parts).save_to_disk(tmp_path / "in")
    with pytest.raises(DataRefused, match="'train' and 'test' have other columns"):
        listed(tmp_path / "in")


def test_without_the_library_the_remedy_is_named(tmp_path, monkeypatch):
    path = saved(tmp_path / "in", {"n": [1]}, {"n": INT})
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'fiberaug\[hf\]'"):
        listed(path)


def test_the_reader_can_be_sent_and_does_not_know_its_folder(tmp_path):
    path = saved(tmp_path / "in", {"n": [1, 2]}, {"n": INT})
    found = listed(path)
    path.rename(tmp_path / "moved")
    moved = listed(tmp_path / "moved")

    assert repr(found.reader) == repr(moved.reader)
    sent = pickle.loads(pickle.dumps(moved.reader))
    assert sent(moved.items[1]) == moved.reader(moved.items[1])


def test_only_what_the_library_wrote_looks_so(tmp_path):
    assert not looks_like_hf(tmp_path)
    assert looks_like_hf(saved(tmp_path / "one", {"n": [1]}, {"n": INT}))
    assert looks_like_hf(
        saved(tmp_path / "dict", {"n": [1]}, {"n": INT}, split="train")
    )
