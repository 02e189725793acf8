"""Small files of huge images and streams: refused by their header, in little memory."""

import gzip
import io
import lzma
import struct
import zlib

import numpy as np
import pytest
import zstandard
from limited import run_limited
from PIL import Image
from sets import photo
from tars import shard

import fiberaug
from fiberaug.decode.header import ImageLimits
from fiberaug.errors import LimitExceeded, ShardDamaged, UsageError
from fiberaug.jobs.encoding import encode_image

IMAGE = encode_image(photo(0), "png")


def chunk(kind, data):
    return (
        struct.pack(">I", len(data)) + kind + data
        + struct.pack(">I", zlib.crc32(kind + data))
    )  # fmt: skip


def png(width, height):
    """A whole PNG of one bit a pixel, all black."""
    rows = zlib.compress(bytes(height * (1 + -(-width // 8))), 9)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def jpeg(width, height):
    """A JPEG of eight by eight pixels whose header says otherwise."""
    content = bytearray(encode_image(photo(1, 8, 8), "jpeg"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def of_pillow(kind, place, form, width, height):
    """A file of Pillow with other numbers where its header has width and height."""
    buffer = io.BytesIO()
    Image.fromarray(photo(2, 8, 8)).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    struct.pack_into(form, content, place, width, height)
    return bytes(content)


def tiff(width, height):
    """A TIFF that is all hole: strips of no bytes."""
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1),
            (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height),
            (279, 4, 1, 0)]  # fmt: skip
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    return head + body + bytes(4)


BOMBS = {
    "a.jpg": lambda: jpeg(16_000, 16_000),
    "side.jpg": lambda: jpeg(65_500, 8),
    "a.png": lambda: png(13_000, 13_000),
    "tall.png": lambda: png(1, 16_385),
    "a.webp": lambda: (
        b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4)
        + (16_000 - 1).to_bytes(3, "little") * 2 + b"VP8 \0\0\0\0"
    ),
    "a.bmp": lambda: of_pillow("BMP", 18, "<ii", 12_000, 12_000),
    "a.gif": lambda: of_pillow("GIF", 6, "<HH", 60_000, 60_000),
    "a.tif": lambda: tiff(12_000, 12_000),
    "a.ppm": lambda: b"P6 12000 12000 255\n" + bytes(64),
}  # fmt: skip


@pytest.fixture(scope="module")
def bombs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bombs")
    for name, make in BOMBS.items():
        (folder / name).write_bytes(make())
    (folder / "largest.png").write_bytes(png(8000, 8000))
    return folder


DECODE = """
    from pathlib import Path
    for path in map(Path, sys.argv[1:]):
        kind = path.suffix[1:]
        for fields in ({"image": kind}, {"image": "png", "mask": "mask." + kind}):
            decoder = SampleDecoder(specs=parse_fields(fields))
            tiny = cv2.imencode(".png", numpy.zeros((4, 4), numpy.uint8))[1].tobytes()
            try:
                decoder({kind: path.read_bytes()} if len(fields) == 1 else
                        {"png": tiny, "mask." + kind: path.read_bytes()})
                print(path.name, "read")
            except FiberAugError as error:
                print(path.name, type(error).__name__)
    print("peak", "low" if peak_mib() < 200 else peak_mib())
"""


@pytest.mark.timeout(60)
def test_an_image_above_the_limits_is_refused_before_it_is_decoded(bombs):
    said = run_limited(DECODE, *(bombs / name for name in BOMBS)).splitlines()

    assert said == [f"{name} LimitExceeded" for name in BOMBS for _ in "12"] + [
        "peak low"
    ]
    assert max((bombs / name).stat().st_size for name in BOMBS) < 100_000


@pytest.mark.timeout(60)
def test_the_largest_image_that_is_allowed_fits_in_a_gigabyte(bombs):
    """64 million pixels: as RGB it decodes; as a mask it is of another size."""
    said = run_limited(DECODE, bombs / "largest.png").splitlines()

    assert said[:2] == ["largest.png read", "largest.png SampleBroken"]


def test_a_limit_is_a_setting_and_none_is_refused(tmp_path):
    path = shard(tmp_path / "s.tar", [("k.png", IMAGE)])
    for decode, kind in (({"max_pixels": 99}, LimitExceeded), ({}, None)):
        dataset = fiberaug.StreamingDataset(str(path), decode=decode, on_error="raise")
        if kind is None:
            assert len(list(dataset)) == 1
        else:
            with pytest.raises(kind, match="the limits are 99 px"):
                list(dataset)
    for limit in ({"pixels": 0}, {"side": 0}, {"pixels": -1}):
        with pytest.raises(UsageError, match="limits must be"):
            ImageLimits(**limit)


PACKERS = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("packer", PACKERS)
def test_what_is_packed_is_never_unpacked(tmp_path, packer):
    """A field stays bytes, whatever it would unpack to, and a shard is refused."""
    bomb = PACKERS[packer](bytes(2**26))
    assert len(bomb) < 2**26 // 200
    members = [("k.png", IMAGE), (f"k.json.{packer}", bomb), (f"k.npy.{packer}", bomb)]
    path = shard(tmp_path / "s.tar", members)
    fields = {"image": "png", "a": f"json.{packer}", "b": f"npy.{packer}"}
    (sample,) = fiberaug.StreamingDataset(str(path), fields=fields, on_error="raise")
    assert (sample["a"], sample["b"]) == (bomb, bomb)

    packed = PACKERS[packer](path.read_bytes())
    hidden = tmp_path / "hidden.tar"
    hidden.write_bytes(packed)
    with pytest.raises(ShardDamaged, match="no tar file"):
        list(fiberaug.StreamingDataset(str(hidden)))
    named = tmp_path / f"s.tar.{packer}"
    named.write_bytes(packed)
    with pytest.raises(UsageError):
        fiberaug.StreamingDataset(str(named))


def test_a_whole_epoch_goes_on_over_bombs(tmp_path, bombs):
    """A bomb is one broken sample: named, replaced and counted."""
    members = [(f"k{i}.png", encode_image(photo(i), "png")) for i in range(6)]
    members[2] = ("k2.png", (bombs / "a.png").read_bytes())
    path = shard(tmp_path / "s.tar", members)
    loader = fiberaug.DataLoader(
        fiberaug.StreamingDataset(str(path), max_errors=0.5), 3, log=tmp_path / "run"
    )
    images = np.concatenate([batch["image"].numpy() for batch in loader])

    assert images.shape == (6, 3, 40, 48)
    (line,) = (tmp_path / "run/quarantine.jsonl").read_text().splitlines()
    assert "k2" in line
    assert "limits are" in line
