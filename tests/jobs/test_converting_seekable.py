"""``seekable=True``: JPEGs of every way into a set can be cut, and lose nothing."""

import shutil

import numpy as np
import pytest
import torch
from conversions import report, streamed
from rendered_jpegs import KINDS, render, soft_noise

import fiberaug
from fiberaug.baking.materializing import materialize
from fiberaug.decode import turbo
from fiberaug.decode.restarts import read_layout
from fiberaug.errors import UsageError
from fiberaug.jobs.encoding import encode_image
from fiberaug.shards.index import DECODES, ShardIndex
from fiberaug.shards.manifest import Manifest

pytestmark = pytest.mark.skipif(not turbo.available(), reason=turbo.why_not())
CUT = render("4:2:0 baseline", 60, 90)[:-400]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "in/some"
    folder.mkdir(parents=True)
    for i, kind in enumerate(KINDS):
        (folder / f"p{i:02d}.jpg").write_bytes(render(kind, 50, 70, seed=i))
    (folder / "cut.jpg").write_bytes(CUT)
    (folder / "lossless.png").write_bytes(encode_image(soft_noise(1, 40, 50), "png"))
    return tmp_path / "in"


def convert(src, dst, **options):
    options = {"workers": 1, "progress": False, "keep_order": True} | options
    return fiberaug.convert(src, dst, **options)


def images(dst):
    """Return {key: (image bytes, segment ends, whether it is known to decode)}."""
    found = {}
    for path in sorted(dst.glob("*.tar")):
        index = ShardIndex.open(path.with_name(f"{path.name}.idx"), shard=path.name)
        content = path.read_bytes()
        for i in range(len(index)):
            image = next(f for f in index.fields(i) if f.extension in {"jpg", "png"})
            data = content[image.offset : image.offset + image.size]
            decodes = bool(index.columns["flags"][i] & DECODES)
            found[index.key(i)] = data, index.segment_ends(i), decodes
    return found


def check_cut(found, *, left=()):
    """All JPEGs but some can be cut; their index knows where, and that they decode."""
    for key, (data, ends, decodes) in found.items():
        jpeg = data[:2] == b"\xff\xd8" and key not in left
        assert (read_layout(data) is not None) == jpeg, key
        assert (ends is not None) == jpeg, key
        assert decodes == jpeg, key


def test_files_are_marked_without_loss_and_those_that_cannot_are_told(photos, tmp_path):
    convert(photos, tmp_path / "plain")
    convert(photos, tmp_path / "cut", seekable=True)

    plain, found = images(tmp_path / "plain"), images(tmp_path / "cut")
    assert [*found] == [*plain]
    check_cut(found, left={"some/cut"})
    lines = report(tmp_path / "cut")
    assert [(one["key"], one["outcome"]) for one in lines] == [
        ("some/cut", "not seekable")
    ]
    assert "damaged" in lines[0]["reason"]
    assert found["some/cut"][0] == CUT
    shutil.copytree(tmp_path / "plain", tmp_path / "as before")
    keys = {f"some/p{i:02d}" for i in range(len(KINDS))}
    options = {"on_error": "mask"}
    left = streamed(tmp_path / "plain", **options)
    right = streamed(tmp_path / "cut", **options)
    for key in keys:
        assert torch.equal(left[key]["image"], right[key]["image"]), key
        assert left[key]["label"] == right[key]["label"]


def test_the_set_says_that_it_is_and_another_command_is_refused(photos, tmp_path):
    made = convert(photos, tmp_path / "set", seekable=True)
    assert made.producer["arguments"]["seekable"] is True
    assert convert(photos, tmp_path / "set", seekable=True) == made
    with pytest.raises(UsageError, match="other arguments"):
        convert(photos, tmp_path / "set")
    plain = convert(photos, tmp_path / "plain")
    assert "seekable" not in plain.producer["arguments"], "as sets before have it"


def test_bytes_do_not_depend_on_workers(photos, tmp_path):
    for workers in (1, 2):
        convert(
            photos, tmp_path / str(workers), seekable=True, workers=workers,
            shard_size="20kB",
        )  # fmt: skip
    one, two = (Manifest.read(tmp_path / name).shards for name in "12")
    assert len(one) > 2
    assert one == two


@pytest.mark.parametrize("options", [
    {"encode": "jpeg"}, {"encode": "jpeg", "resize": 30}, {"resize": 30},
    {"encode": "jpeg", "tile": (32, 32)}, {"srgb": True, "resize": 20},
], ids=str)  # fmt: skip
def test_what_is_encoded_anew_is_seekable_and_has_the_same_pixels(
    options, photos, tmp_path
):
    (photos / "some/cut.jpg").unlink()
    convert(photos, tmp_path / "plain", **options)
    convert(photos, tmp_path / "cut", seekable=True, **options)
    found = images(tmp_path / "cut")
    assert [*found] == [*images(tmp_path / "plain")]
    check_cut(found)
    assert not report(tmp_path / "cut")
    left, right = streamed(tmp_path / "plain"), streamed(tmp_path / "cut")
    for key in left:
        assert torch.equal(left[key]["image"], right[key]["image"]), key


@pytest.mark.parametrize("options", [
    {"encode": "png"}, {"encode": "webp"}, {"tile": (32, 32)},
], ids=str)  # fmt: skip
def test_what_is_not_jpeg_cannot_be_seekable(options, photos, tmp_path):
    with pytest.raises(UsageError, match="encode"):
        convert(photos, tmp_path / "set", seekable=True, **options)
    assert not (tmp_path / "set").exists()


def test_shards_are_a_source_like_others(photos, tmp_path):
    convert(photos, tmp_path / "plain")
    convert(tmp_path / "plain", tmp_path / "cut", seekable=True, source="shards")
    check_cut(images(tmp_path / "cut"), left={"some/cut"})


def test_samples_of_an_iterable_are_marked_alike(tmp_path, caplog):
    rows = [
        {"__key__": "bytes", "image": render("4:4:4 progressive", 40, 50), "label": 1},
        {"__key__": "array", "image": soft_noise(2, 40, 50), "label": 2},
        {"__key__": "broken", "image": CUT, "label": 2},
    ]
    fiberaug.convert(
        rows, tmp_path / "set", encode="jpeg", seekable=True, progress=False
    )
    check_cut(images(tmp_path / "set"), left={"broken"})
    assert "1 JPEG got no restart markers" in caplog.text


def test_a_baked_set_of_jpegs_is_seekable(write_set, tmp_path):
    shards = write_set(6)
    options = {"encode": "jpeg", "workers": 1, "progress": False}
    materialize(shards, tmp_path / "plain", **options)
    made = materialize(shards, tmp_path / "cut", seekable=True, **options)
    assert made.producer["arguments"]["seekable"] is True
    for data, ends, _ in images(tmp_path / "cut").values():
        assert read_layout(data) is not None
        assert ends is not None
    left, right = streamed(tmp_path / "plain"), streamed(tmp_path / "cut")
    assert len(left) == 6
    for key in left:
        assert torch.equal(left[key]["image"], right[key]["image"])
    with pytest.raises(UsageError, match="encode jpeg"):
        materialize(shards, tmp_path / "png", seekable=True, progress=False)


def test_optimised_tables_pay_for_the_markers(tmp_path):
    pixels = soft_noise(5, 400, 600)
    sizes = [len(encode_image(pixels, "jpeg", seekable=cut)) for cut in (False, True)]
    assert sizes[1] < sizes[0]
    assert np.array_equal(
        *(
            fiberaug_pixels(encode_image(pixels, "jpeg", seekable=cut))
            for cut in (False, True)
        )
    )


def fiberaug_pixels(data):
    from fiberaug.decode.header import ImageLimits
    from fiberaug.decode.image import decode_image

    return decode_image(data, limits=ImageLimits())[0]
