"""Laws of shards cut anew: every sample keeps its key, its members and their bytes."""

import io
import json
import os
import pickle
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conversions import converted, streamed
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sets import DATA, cut_jpeg, photo, samples
from tars import shard

import fiberaug
from fiberaug.errors import DataRefused, ShardDamaged, StoreError, UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.indexing import index_shards
from fiberaug.jobs.job import Job
from fiberaug.jobs.members import mask_member
from fiberaug.jobs.preparing import Options, masks_member
from fiberaug.jobs.sources.options import SourceOptions
from fiberaug.jobs.sources.shards import list_shards, looks_like_shards
from fiberaug.jobs.verifying import verify
from fiberaug.shards.naming import split_name

JPEG = encode_image(photo(1), "jpeg")


def listed(src, **options):
    return list_shards(Path(src), SourceOptions(**options))


def members(folder):
    """Members of all samples, by key; no key twice."""
    found = {}
    folder = Path(folder)
    for path in [folder] if folder.is_file() else sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for info in tar:
                key, extension = split_name(info.name, shard="", offset=0)
                sample = found.setdefault(key, {})
                assert extension not in sample
                sample[extension] = tar.extractfile(info).read()
    return found


def errors(folder):
    path = Path(folder) / "convert_errors.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(folder, *rows, name="s.tar"):
    """One shard of (key, members)."""
    folder.mkdir(exist_ok=True)
    shard(folder / name, [(f"{k}.{e}", d) for k, m in rows for e, d in m.items()])
    return folder


def turned(orientation=6):
    """A JPEG of 48x40 px that is looked at as 40x48."""
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(photo(3)).save(buffer, "jpeg", exif=exif)
    return buffer.getvalue()


def dumped(notes):
    return json.dumps(notes).encode()


ODD_JSON = b'{"b": 1.0,\n "a": "\\u00e9", "objects": [{"bbox": [1, 2, 30, 40]}]}'


def test_members_are_the_same_bytes_whatever_they_are(tmp_path):
    rows = {
        "a/x": {
            "jpg": JPEG,
            "json": ODD_JSON,
            "cls": b"3\n",
            "txt": b"\xef\xbb\xbftext",
        },
        "b": {"cls": b"dog", "jpeg": JPEG, "npy": b"no array", "meta.json": b"{"},
        "c": {"png": encode_image(photo(2), "png"), "json": b"[1e400]"},
        "d": {"json": b"no JSON at all", "jpg": turned(), "mask.png": b"no PNG"},
    }
    src = written(tmp_path / "in", *rows.items())

    converted(listed(src), tmp_path / "out")

    assert members(tmp_path / "out") == rows
    assert not (tmp_path / "out" / "convert_errors.jsonl").exists()


@given(st.data())
@settings(max_examples=15, deadline=None)
def test_any_cut_and_any_order_keep_the_set(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("set")
    ends = st.dictionaries(
        st.sampled_from(["txt", "cls", "a.bin", "json", "é"]), st.binary(max_size=1200)
    )
    rows = {
        f"k{i}": {"jpg": JPEG, **data.draw(ends)}
        for i in range(data.draw(st.integers(1, 9)))
    }
    keys = [*rows]
    at = data.draw(st.integers(0, len(keys)))
    for name, part in (("a.tar", keys[:at]), ("b.tar", keys[at:])):
        if part:
            written(folder / "in", *((k, rows[k]) for k in part), name=name)
    if data.draw(st.booleans()):
        index_shards(folder / "in", progress=False)
    job = Job(
        shard_size=data.draw(st.integers(1, 20_000)), workers=1,
        seed=data.draw(st.integers(0, 99)), keep_order=data.draw(st.booleans()),
        options=Options(), allow_empty_class=True, progress=False,
    )  # fmt: skip

    manifest = converted(listed(folder / "in"), folder / "out", job=job)

    assert members(folder / "out") == rows
    assert not verify(folder / "out", fields=manifest.fields).problems
    if len(manifest.shards) > 1:  # no shard is larger, but of one sample
        end = 1024 + 10_240  # two empty blocks, and up to the next record
        assert all(
            entry.samples == 1 or entry.bytes <= job.shard_size + end
            for entry in manifest.shards
        )


def test_a_set_with_dataset_json_stays_the_same_set(tmp_path):
    fiberaug.convert(
        samples(
            12, bboxes=lambda i: [[1, 2, 9 + i, 30]], bbox_labels=lambda i: [i % 2]
        ),
        tmp_path / "in", shard_size="10kB", progress=False,
        classes=["ant", "bee", "cat", "dog"],
    )  # fmt: skip
    found = listed(tmp_path / "in")
    assert [item.label for item in found.items] == [i % 4 for i in range(12)]

    manifest = converted(found, tmp_path / "out")

    assert manifest.classes == ("ant", "bee", "cat", "dog")
    assert manifest.counts == {"ant": 3, "bee": 3, "cat": 3, "dog": 3}
    assert len(manifest.shards) == 1
    assert members(tmp_path / "in") == members(tmp_path / "out")
    before, after = streamed(tmp_path / "in"), streamed(tmp_path / "out")
    for key, sample in before.items():
        other = after[key]
        assert sample.keys() == other.keys()
        assert all(
            np.array_equal(sample[name], other[name])
            for name in ("image", "label", "bboxes", "bbox_labels")
        )


def test_numbering_that_begins_again_in_each_shard_gets_the_shards_name(tmp_path):
    src = tmp_path / "in"
    for name in ("part-v1.0.tar", "part-2.tar"):
        rows = ((f"{i:03d}", {"jpg": JPEG, "txt": name.encode()}) for i in range(2))
        written(src, *rows, name=name)
    found = listed(src)

    assert "keys stood twice, so each is now SHARD/KEY" in found.said
    converted(found, tmp_path / "out")
    assert {key: m["txt"] for key, m in members(tmp_path / "out").items()} == {
        "part-2/000": b"part-2.tar", "part-2/001": b"part-2.tar",
        "part-v1.0/000": b"part-v1.0.tar", "part-v1.0/001": b"part-v1.0.tar",
    }  # fmt: skip
    assert "SHARD/KEY" not in listed(src / "part-2.tar").said


def test_a_key_that_stands_twice_in_one_shard_is_refused(tmp_path):
    rows = [("a", {"jpg": JPEG}), ("b", {"jpg": JPEG}), ("a", {"cls": b"1"})]
    found = listed(written(tmp_path / "in", *rows))
    with pytest.raises(DataRefused, match=r"'s/a' stands twice: s\.tar#0 and s\.tar#2"):
        converted(found, tmp_path / "out")


def test_what_img2dataset_writes_is_taken_as_it_is(tmp_path):
    src = tmp_path / "in"
    rows = {}
    for part in range(2):
        here = {
            f"{part:05d}{i:04d}": {
                "jpg": encode_image(photo(i), "jpeg"),
                "txt": f"no {i}".encode(),
                "json": dumped({"caption": f"no {i}", "width": 48, "height": 40,
                                "original_width": 640, "exif": "{}", "sha256": None}),
            }
            for i in range(3)
        }  # fmt: skip
        written(src, *here.items(), name=f"{part:05d}.tar")
        (src / f"{part:05d}.parquet").write_bytes(b"PAR1")
        (src / f"{part:05d}_stats.json").write_text("{}")
        rows |= here
    found = listed(src)
    assert found.fields["caption?"] == "txt"
    assert looks_like_shards(src)

    converted(found, tmp_path / "out")
    assert members(tmp_path / "out") == rows
    assert streamed(tmp_path / "out")["000010002"]["caption"] == "no 2"

    converted(found, tmp_path / "small", resize=20)
    small = members(tmp_path / "small")["000010002"]
    told = json.loads(small["json"])
    assert (told["width"], told["height"], told["original_width"]) == (24, 20, 640)


def test_where_the_image_gets_smaller_its_annotations_follow(tmp_path):
    masks = np.zeros((2, 40, 48), np.uint8)
    masks[1, 10:20, 12:24] = 1
    notes = {
        "objects": [{"bbox": [12, 10, 24, 20], "label": 2,
                     "polygons": [[[12, 10], [24, 10], [24, 20]]]}],
        "width": 48, "height": 40, "source": "Ä",
    }  # fmt: skip
    row = {
        "jpg": JPEG, "json": dumped(notes), "masks.npz": masks_member(masks),
        "mask.png": mask_member(masks[1]), "cls": b"1\n", "txt": b"x",
    }  # fmt: skip
    src = written(tmp_path / "in", ("a", row))

    converted(listed(src), tmp_path / "out", resize=20, encode="webp")

    (found,) = members(tmp_path / "out").values()
    assert set(found) == {"webp", "json", "masks.npz", "mask.png", "cls", "txt"}
    assert (found["cls"], found["txt"]) == (b"1\n", b"x")
    assert json.loads(found["json"]) == {
        "objects": [{"bbox": [6, 5, 12, 10], "label": 2,
                     "polygons": [[[6, 5], [12, 5], [12, 10]]]}],
        "width": 24, "height": 20, "source": "Ä",
    }  # fmt: skip
    fields = {"image": "webp", "masks": "masks.npz", "mask": "mask.png"}
    (sample,) = streamed(tmp_path / "out", fields=fields).values()
    assert (np.asarray(sample["masks"]) == masks[:, ::2, ::2]).all()
    assert (np.asarray(sample["mask"]) == masks[1, ::2, ::2]).all()


@pytest.mark.parametrize(
    "stated", [{"width": 48, "height": 40}, {"frame": "stored"}, {}]
)
def test_where_the_image_is_turned_its_annotations_are_read_back_the_same(
    tmp_path, stated
):
    upright = not stated
    notes = {"objects": [{"bbox": [10, 4, 30, 20], "label": 0}], **stated}
    src = written(tmp_path / "in", ("a", {"jpg": turned(), "json": dumped(notes)}))
    converted(listed(src), tmp_path / "kept")
    converted(listed(src), tmp_path / "out", encode="png")

    assert members(tmp_path / "kept") == members(src)
    (before,) = streamed(tmp_path / "kept").values()
    (after,) = streamed(tmp_path / "out").values()
    assert np.array_equal(before["image"], after["image"])
    assert np.array_equal(before["bboxes"], after["bboxes"])
    expected = [10, 4, 30, 20] if upright else [20, 10, 36, 30]
    assert np.asarray(after["bboxes"]).tolist() == [expected]


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ({"json": dumped({"boxes": [[1, 2, 3, 4]]})}, "may stand at 'boxes'"),
        ({"json": dumped({"objects": [{"contour": [[1, 2]]}]})}, "contour"),
        ({"json": dumped({"a": [{"b": {"face_landmarks": [1]}}]})}, "face_landmarks"),
        ({"ann.json": dumped([{"bbox": [1, 2, 3, 4]}])}, "bbox"),
        ({"json": b"{"}, "the JSON is refused"),
        ({"json": dumped({"objects": {"a": 1}})}, "cannot follow the image"),
        ({"npy": b"x"}, r"\.npy cannot follow it"),
        ({"depth.png": encode_image(photo(1), "png")}, r"\.depth\.png cannot follow"),
        ({"mask.png": mask_member(np.zeros((9, 9), np.uint8))}, "9x9 px"),
    ],
)
def test_what_cannot_follow_a_smaller_image_is_left_out_and_said(tmp_path, extra, why):
    rows = [("a", {"jpg": JPEG, **extra}), ("b", {"jpg": JPEG, "cls": b"1"})]
    src = written(tmp_path / "in", *rows)
    converted(listed(src), tmp_path / "kept")
    converted(listed(src), tmp_path / "out", resize=20)

    assert members(tmp_path / "kept") == dict(rows)
    assert [*members(tmp_path / "out")] == ["b"]
    (error,) = errors(tmp_path / "out")
    assert error["key"] == "a"
    assert error["path"].endswith("s.tar#0")
    assert re.search(why, error["reason"])


def test_an_image_never_takes_the_place_of_another_member(tmp_path):
    row = {"png": encode_image(photo(1), "png"), "jpg": JPEG}
    src = written(tmp_path / "in", ("a", row), ("b", {"jpg": JPEG}))
    converted(listed(src), tmp_path / "out", encode="png")

    assert [*members(tmp_path / "out")] == ["b"]
    assert (
        "would become .png, which it has already"
        in errors(tmp_path / "out")[0]["reason"]
    )


def test_a_named_image_keeps_its_name(tmp_path):
    row = {
        "rgb.png": encode_image(photo(1), "png"),
        "nir.png": encode_image(photo(2), "png"),
    }
    src = written(tmp_path / "in", ("a", row))
    with pytest.raises(UsageError, match="no field looks like an image"):
        listed(src)
    found = listed(src, columns={"image": "rgb.png", "nir": "nir.png"})
    assert found.fields == {"image": "rgb.png;rgb.jpg;rgb.webp", "nir": "nir.png"}
    converted(found, tmp_path / "out", encode="jpeg")

    assert [*members(tmp_path / "out")["a"]] == ["nir.png", "rgb.jpg"]
    (sample,) = streamed(tmp_path / "out").values()
    assert np.array_equal(sample["nir"], photo(2))


def test_a_broken_sample_is_that_samples_error(tmp_path):
    src = written(
        tmp_path / "in",
        *((f"k{i}", {"jpg": JPEG, "cls": b"%d" % i}) for i in range(4)),
        ("none", {"cls": b"1"}), ("cut", {"jpg": cut_jpeg(1)}),
        ("odd", {"jpg": b"text"}), ("lost", {"jpg": JPEG, "_x": b"1"}),
    )  # fmt: skip
    index_shards(src, progress=False)
    data = bytearray((src / "s.tar").read_bytes())
    with tarfile.open(src / "s.tar") as tar:
        data[tar.getmember("k2.jpg").offset_data + 100] ^= 1
    (src / "s.tar").write_bytes(data)

    converted(listed(src), tmp_path / "out")

    assert set(members(tmp_path / "out")) == {"k0", "k1", "k3", "cut"}
    reasons = {error["key"]: error["reason"] for error in errors(tmp_path / "out")}
    assert set(reasons) == {"k2", "none", "odd", "lost"}
    assert "the index says" in reasons["k2"]
    assert "no image: jpg" in reasons["none"]
    assert "['_x'] cannot be written" in reasons["lost"]


def test_a_damaged_shard_is_refused_before_anything_is_written(tmp_path):
    src = written(tmp_path / "in", *((f"k{i}", {"jpg": JPEG}) for i in range(4)))
    path = src / "s.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1500])
    with pytest.raises(ShardDamaged) as raised:
        listed(src)
    assert raised.value.shard == "s.tar"
    assert raised.value.offset is not None
    path.write_bytes(whole)
    index_shards(src, progress=False)
    path.write_bytes(whole[:-512])
    with pytest.raises(ShardDamaged, match="its index says"):
        listed(src)


def test_a_shard_that_went_away_or_shrank_is_said(tmp_path):
    src = written(tmp_path / "in", *((f"k{i}", {"jpg": JPEG}) for i in range(4)))
    found = listed(src)
    size = (src / "s.tar").stat().st_size
    os.truncate(src / "s.tar", size // 2)
    converted(found, tmp_path / "out")
    assert len(errors(tmp_path / "out")) == 4 - len(members(tmp_path / "out"))
    shutil.rmtree(src)
    with pytest.raises(StoreError, match="cannot read"):
        converted(found, tmp_path / "other")


def test_parts_of_a_set_are_not_mixed(tmp_path):
    fiberaug.convert(samples(4), tmp_path / "in", progress=False)
    names = {"a": ["shard-000000.tar"], "b": ["shard-000000.tar"]}
    path = tmp_path / "in" / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "splits": names}))
    with pytest.raises(
        UsageError, match=r"the parts \['a', 'b'\].* convert each alone"
    ):
        listed(tmp_path / "in")


def test_only_local_shards_are_taken(tmp_path):
    with pytest.raises(UsageError, match=r"no \.tar file"):
        listed(tmp_path)
    assert not looks_like_shards(tmp_path)
    src = written(tmp_path / "in", ("a", {"jpg": JPEG}))
    assert looks_like_shards(src)
    assert looks_like_shards(src / "{a,s}.tar")
    assert len(listed(src / "{s..s}.tar").items) == 1
    assert len(listed(src / "*.tar").items) == 1


def test_the_reader_can_be_sent_and_knows_the_shards(tmp_path):
    found = listed(written(tmp_path / "in", ("a", {"jpg": JPEG, "cls": b"1"})))
    moved = listed(written(tmp_path / "moved", ("a", {"jpg": JPEG, "cls": b"1"})))
    other = listed(written(tmp_path / "other", ("a", {"jpg": JPEG, "txt": bytes(900)})))

    assert repr(found.reader) == repr(moved.reader) != repr(other.reader)
    sent = pickle.loads(pickle.dumps(found.reader))
    assert sent(found.items[0]) == found.reader(found.items[0])


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="FIBERAUG_DATA names no folder")
def test_cifar_cut_anew_is_the_same_multiset(tmp_path):
    src = DATA / "cifar10-shards" / "test-000000.tar"
    job = Job(
        shard_size=1_000_000, workers=1, seed=7, keep_order=False, options=Options(),
        allow_empty_class=True, progress=False,
    )  # fmt: skip
    manifest = converted(listed(src), tmp_path / "out", job=job)

    assert members(tmp_path / "out") == members(src)
    assert (manifest.samples, len(manifest.shards)) == (1000, 3)
    assert not verify(tmp_path / "out").problems


def test_a_group_that_is_asked_for_is_the_only_thing_that_json_gets(tmp_path):
    rows = [("p1/a", {"jpg": JPEG, "json": b'{"x": 1}'}), ("p2/b", {"jpg": JPEG})]
    src = written(tmp_path / "in", *rows, ("p3/c", {"jpg": JPEG, "json": b"[1]"}))
    converted(listed(src), tmp_path / "out", group_by="folder")

    found = members(tmp_path / "out")
    assert json.loads(found["p1/a"]["json"]) == {"x": 1, "group": "p1"}
    assert json.loads(found["p2/b"]["json"]) == {"group": "p2"}
    assert (
        "no object that could hold ['group']" in errors(tmp_path / "out")[0]["reason"]
    )


def test_an_outline_in_runs_of_pixels_is_left_out_of_a_smaller_image_and_said(tmp_path):
    runs = {"bbox": [4, 4, 8, 8], "segmentation": {"size": [40, 48], "counts": "x"}}
    corners = {"bbox": [4, 4, 8, 8], "segmentation": [[4, 4, 8, 4, 8, 8]]}
    row = {"jpg": JPEG, "json": dumped({"objects": [runs, corners]})}
    src = written(tmp_path / "in", ("a", row))
    converted(listed(src), tmp_path / "out", resize=20)

    one, other = json.loads(members(tmp_path / "out")["a"]["json"])["objects"]
    assert one == {"bbox": [2, 2, 4, 4]}
    assert np.ravel(other["segmentation"]).tolist() == [2, 2, 4, 2, 4, 4]
    (doubt,) = errors(tmp_path / "out")
    assert (doubt["outcome"], "RLE" in doubt["reason"]) == ("kept", True)
