"""Laws of ``dataset.json``: whole or not there, and never a path out of the folder."""

import json

import pytest

from fiberaug.errors import SecurityRefused, ShardDamaged, StoreError
from fiberaug.shards.manifest import Manifest, ShardEntry, fingerprint

ENTRY = ShardEntry(
    name="shard-000000.tar",
    bytes=10_240,
    samples=3,
    sha256="00" * 32,
    index_crc32="0badcafe",
    counts={"0": 2, "1": 1},
)
MANIFEST = Manifest(
    shards=(ENTRY,),
    classes=("Faser", "Stecker ü"),
    counts={"Faser": 2, "Stecker ü": 1},
    fields={"image": "jpg"},
    producer={"program": "fiberaug"},
)


def read(folder, content):
    (folder / "dataset.json").write_bytes(content)
    return Manifest.read(folder)


def changed(**values):
    return json.dumps(json.loads(MANIFEST.to_bytes()) | values).encode()


def with_entry(**values):
    return changed(shards=[json.loads(MANIFEST.to_bytes())["shards"][0] | values])


def test_a_manifest_comes_back_as_it_was_written(tmp_path):
    again = read(tmp_path, MANIFEST.to_bytes())

    assert again == MANIFEST
    assert again.samples == 3
    assert again.to_bytes() == MANIFEST.to_bytes()


def test_what_a_later_release_adds_is_passed_over(tmp_path):
    assert read(tmp_path, changed(novelty={"a": 1})) == MANIFEST


@pytest.mark.parametrize(
    "name", ["../a.tar", "/etc/passwd", "a/b.tar", ".hidden.tar", "", ".", "..", "a\0"]
)
def test_a_shard_is_a_plain_file_of_the_folder(tmp_path, name):
    with pytest.raises(SecurityRefused, match="file name"):
        read(tmp_path, with_entry(name=name))


def test_a_newer_schema_is_named(tmp_path):
    content = changed(schema=2, shards=[{"whatever": 1}])

    with pytest.raises(ShardDamaged, match="schema 2, this release reads 1 to 1"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"{}",
        b"[" * 100_000,
        b"\xff\xfe",
        changed(shards=[]),
        changed(shards=[7]),
        changed(shards=7),
        changed(schema="1"),
        changed(classes=[1]),
        changed(classes=7),
        with_entry(samples="3"),
        with_entry(samples=-1),
        with_entry(bytes=1.5),
        with_entry(name=7),
        with_entry(sha256=None),
        with_entry(counts=[1]),
        with_entry(surprise=1),
    ],
)
def test_what_is_no_data_set_is_refused_in_one_line(tmp_path, content):
    with pytest.raises(ShardDamaged, match=r"dataset\.json") as caught:
        read(tmp_path, content)

    assert "\n" not in str(caught.value)


def test_a_missing_file_is_a_store_error(tmp_path):
    with pytest.raises(StoreError, match=r"dataset\.json"):
        Manifest.read(tmp_path)


def test_the_fingerprint_depends_on_every_part_and_on_the_order():
    rows = [("a.tar", 1, 2, "x"), ("b.tar", 1, 2, "x")]
    others = [
        rows[::-1],
        rows[:1],
        [("c.tar", 1, 2, "x"), rows[1]],
        [("a.tar", 9, 2, "x"), rows[1]],
        [("a.tar", 1, 9, "x"), rows[1]],
        [("a.tar", 1, 2, "y"), rows[1]],
    ]

    assert fingerprint(list(rows)) == fingerprint(rows)
    assert len({fingerprint(other) for other in [rows, *others]}) == 7
