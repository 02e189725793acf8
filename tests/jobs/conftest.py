"""Shards as other programs write them, and as ours does."""

import json

import pytest
from sets import photo, samples
from webdataset.writer import TarWriter

from fiberaug import convert
from fiberaug.jobs.encoding import encode_image


def write_foreign(path, rows):
    """Write a shard as plain webdataset does."""
    with path.open("wb") as file:
        writer = TarWriter(file, encoder=False)
        for key, members in rows:
            writer.write({"__key__": key, **members})
        writer.close()
    return path


def make_rows(count=5, start=0):
    """Return samples as img2dataset stores them, with labels."""
    for i in range(start, start + count):
        about = {"caption": f"no {i}", "width": 48, "height": 40, "exif": "{}",
                 "error_message": None}  # fmt: skip
        yield (
            f"{i:09d}",
            {
                "jpg": encode_image(photo(i), "jpeg"),
                "txt": f"no {i}".encode(),
                "json": json.dumps(about, indent=4).encode(),
                "cls": f"{i % 2}\n".encode(),
            },
        )


@pytest.fixture
def foreign():
    """Write a shard as plain webdataset does: ``foreign(path, rows)``."""
    return write_foreign


@pytest.fixture
def rows():
    """Samples as img2dataset stores them: ``rows(count, start)``."""
    return make_rows


@pytest.fixture
def theirs(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for i in range(2):
        write_foreign(folder / f"{i:05d}.tar", make_rows(start=5 * i))
    return folder


@pytest.fixture
def ours(tmp_path):
    convert(samples(8), tmp_path / "ours", shard_size="10kB", progress=False)
    return tmp_path / "ours"
