"""Seeds of the fuzzers, a few kB: ``python tests/fuzz/corpus.py tests/fuzz/corpus``.

What a fuzzer finds is added to the folders by hand, under the name of its fault, and
stays there for ever.
"""

import io
import json
import struct
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from fiberaug.record import AppliedTransform, Record
from fiberaug.shards.index import Facts, Field, IndexBuilder
from fiberaug.shards.manifest import Manifest, ShardEntry

__all__ = ["seeds"]

_FORMATS = {
    "ustar": tarfile.USTAR_FORMAT,
    "gnu": tarfile.GNU_FORMAT,
    "pax": tarfile.PAX_FORMAT,
}


def _tar(form: int, names: list[str], *, kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "x"
            info.size = 3 if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(b"abc"))
    end = len(buffer.getvalue().rstrip(b"\0"))
    return buffer.getvalue()[: (end + 511 & -512) + 1024]


def _tars() -> Iterator[tuple[str, bytes]]:
    for name, form in _FORMATS.items():
        yield name, _tar(form, ["a.jpg", "a.cls"])
    yield "long", _tar(tarfile.GNU_FORMAT, ["n" * 120 + ".jpg"])
    yield "accent", _tar(tarfile.PAX_FORMAT, ["é/b.jpg"])
    yield "link", _tar(tarfile.USTAR_FORMAT, ["a.jpg"], kind=tarfile.SYMTYPE)
    yield "folder", _tar(tarfile.USTAR_FORMAT, ["d"], kind=tarfile.DIRTYPE)


def _indexes() -> Iterator[tuple[str, bytes]]:
    for name, checksums in (("plain", False), ("checked", True)):
        builder = IndexBuilder("s.tar")
        fields = [Field("jpg", 512, 100, 7), Field("cls", 1536, 1, 8)]
        builder.add("a", fields, Facts(label=3, width=4, height=5))
        builder.add("é", fields[:1])
        yield name, builder.finish(shard_bytes=10_240, checksums=checksums).to_bytes()
    yield (
        "empty",
        IndexBuilder("s.tar").finish(shard_bytes=10_240, checksums=False).to_bytes(),
    )
    yield "short", b"FBAUGIDX" + struct.pack("<I", 1)


def _records() -> Iterator[tuple[str, bytes]]:
    """The first byte says what the rest is, see ``targets.fuzz_record``."""
    for i, text in enumerate(
        ['{"label": 3, "objects": [{"bbox": [1, 2, 3, 4.5]}]}', '["\\u00e9", null]']
    ):
        yield f"json{i}", b"\0" + text.encode()
    record = Record(
        key="a", url="s.tar", index=0, uid="0" * 16, position=3, visit=0, view=0,
        epoch=1, seed=2, origin="real", decode={"shape": [4, 4, 3]}, batch={"unit": 0},
        applied_transforms=(AppliedTransform("0", "Flip", {"p": 0.5}),),
        recipe="1" * 16, environment="2" * 16, replayable=True,
    )  # fmt: skip
    yield "record", b"\1" + record.to_json().encode()
    yield (
        "recipe.yaml",
        (
            b"\2version: 1\ncpu:\n  - OneOf: {p: 0.5, transforms: [{Blur: {p: 1}}]}\n"
            b"normalize: {mean: [0.5], std: [0.5]}\n"
        ),
    )
    recipe = {"version": 1, "cpu": [{"HorizontalFlip": {"p": 1e-05}}]}
    yield "recipe.json", b"\2" + json.dumps(recipe).encode()
    entry = ShardEntry(
        name="a.tar", bytes=10_240, samples=2, sha256="0" * 64, index_crc32="0" * 8
    )
    yield "dataset", b"\3" + Manifest(shards=(entry,), classes=("cat",)).to_bytes()


def seeds() -> dict[str, dict[str, bytes]]:
    """Return the seeds by parser and name."""
    return {
        "tar": dict(_tars()),
        "index": dict(_indexes()),
        "record": dict(_records()),
    }


if __name__ == "__main__":
    for parser, files in seeds().items():
        folder = Path(sys.argv[1], parser)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
