"""Damaged shards through whole runs: named, with their place, and nothing lost else."""

import gzip
import random

import numpy as np
import pytest
from flipped import FLIPPED
from sets import cut_jpeg, photo, samples
from tars import END, entry, shard

import fiberaug
from fiberaug.errors import (
    DataRefused,
    SampleBroken,
    ShardDamaged,
    StoreError,
    UsageError,
)
from fiberaug.jobs.encoding import encode_image
from fiberaug.jobs.indexing import index_shards
from fiberaug.jobs.verifying import verify
from fiberaug.shards.reader import ShardFile, ShardRef


def rows(count=20, kind="png"):
    for i in range(count):
        yield f"k{i:02d}", {kind: encode_image(photo(i), "png"), "cls": b"%d" % (i % 4)}


def pairs(samples=rows, count=20):
    return [
        (f"{key}.{extension}", data)
        for key, members in samples(count)
        for extension, data in members.items()
    ]


def headers(data):
    """Return where the header of each member lies."""
    places, at = [], 0
    while data[at : at + 512] != bytes(512):
        places.append(at)
        at += 512 + (int(data[at + 124 : at + 135], 8) + 511 & -512)
    return places


def streamed(path, num_workers=0, **options):
    options = {
        "on_error": "raise",
        "fields": {"image": "png", "label": "cls"},
    } | options
    dataset = fiberaug.StreamingDataset(path, train=False, **options)
    loader = fiberaug.DataLoader(dataset, 4, num_workers=num_workers)
    return [key for batch in loader for key in batch["__key__"]]


@pytest.fixture
def whole(tmp_path):
    return shard(tmp_path / "a.tar", pairs()).read_bytes()


CUT = 20
DAMAGES = {
    "cut inside file data": lambda d, at: d[: at[CUT] + 700],
    "cut at a member boundary": lambda d, at: d[: at[CUT]],
    "cut between png and cls": lambda d, at: d[: at[CUT + 1]],
    "cut inside a header": lambda d, at: d[: at[CUT] + 100],
    "flipped header byte": lambda d, at: flipped(d, at[CUT] + 3),
    "zeroed header": lambda d, at: d[: at[CUT]] + bytes(512) + d[at[CUT] + 512 :],
    "two zero blocks": lambda d, at: d[: at[CUT]] + END + d[at[CUT] :],
    "concatenated": lambda d, at: d + d,
    "no end of the archive": lambda d, at: d[:-1024],
    "nothing but zeros": lambda d, at: bytes(len(d)),
    "HTML instead of a tar": lambda d, at: b"<!DOCTYPE html><title>404</title>" * 50,
    "zero bytes": lambda d, at: b"",
}


def flipped(data, byte, bit=0):
    return data[:byte] + bytes([data[byte] ^ 1 << bit]) + data[byte + 1 :]


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.timeout(30)
def test_a_damaged_shard_beside_a_healthy_one_is_an_error_with_its_place(
    tmp_path, whole, damage, num_workers
):
    healthy = shard(tmp_path / "b.tar", [(f"h{n}", d) for n, d in pairs()])
    content = DAMAGES[damage](whole, headers(whole))
    (tmp_path / "a.tar").write_bytes(content)

    with pytest.raises(ShardDamaged) as caught:
        streamed([str(tmp_path / "a.tar"), str(healthy)], num_workers)
    assert caught.value.shard == "a.tar"
    assert 0 <= caught.value.offset <= len(content)
    assert "\n" not in str(caught.value)
    (problem,) = verify(str(tmp_path / "a.tar"), progress=False).problems
    assert (problem.shard, problem.offset) == ("a.tar", caught.value.offset)


def delivered(path, side_car=None):
    """Return key and bytes of every sample that can be read, or raise."""
    ref = ShardRef(path=str(path), index=None if side_car is None else str(side_car))
    file = ShardFile(ref)
    return [
        (file.index.key(i), {e: bytes(d) for e, d in file.read(i).items()})
        for i in range(len(file.index))
    ]


@pytest.fixture
def indexed(tmp_path):
    """A shard of 20 samples with its side-car, as the writer makes it."""
    manifest = fiberaug.convert(samples(20), tmp_path / "set", progress=False)
    (entry_,) = manifest.shards
    path = tmp_path / "set" / entry_.name
    return path, path.with_name(f"{path.name}.idx")


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_after_indexing_is_reported_or_changes_no_delivered_byte(
    indexed, damage
):
    """With an index no header is read; whoever asks ``verify`` hears of it anyway."""
    path, side_car = indexed
    before, data = delivered(path, side_car), path.read_bytes()
    path.write_bytes(DAMAGES[damage](data, headers(data)))
    try:
        assert delivered(path, side_car) == before
    except DataRefused as error:
        assert error.shard == path.name  # noqa: PT017  # either outcome is right
    problems = verify(str(path.parent), progress=False).problems
    assert {problem.shard for problem in problems} == {path.name}


FLIPS = 1000


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A shard of 400 kB, nearly all of it data, and its side-car."""
    draw = random.Random(0)
    members = [
        (f"k{i:02d}.{extension}", draw.randbytes(size))
        for i in range(20)
        for extension, size in (("jpg", 20_000), ("cls", 1))
    ]
    path = shard(tmp_path_factory.mktemp("large") / "a.tar", members)
    (made,) = index_shards(str(path), progress=False)
    return path, made.side_car


def outcomes(target, path, side_car, before):
    """Flip one bit after the other; return how many are reported, silent, harmless."""
    content, draw = target.read_bytes(), random.Random(0)
    reported = silent = 0
    try:
        for _ in range(FLIPS):
            place, bit = draw.randrange(len(content)), draw.randrange(8)
            target.write_bytes(flipped(content, place, bit))
            try:
                silent += delivered(path, side_car) != before
            except DataRefused as error:
                assert error.shard == path.name  # noqa: PT017  # either is right
                reported += 1
    finally:
        target.write_bytes(content)
    return reported, silent, FLIPS - reported - silent


@pytest.mark.timeout(120)
def test_of_1000_flipped_bits_of_a_shard_with_an_index_none_is_silent(large):
    """The harmless ones hit headers, padding and zeros: nothing of it is delivered."""
    path, side_car = large
    found = outcomes(path, path, side_car, delivered(path, side_car))

    assert found == FLIPPED["a shard with an index"]
    assert found[1] == 0


@pytest.mark.timeout(120)
def test_of_1000_flipped_bits_of_an_index_every_one_is_reported(large):
    path, side_car = large
    found = outcomes(side_car, path, side_car, delivered(path, side_car))

    assert found == FLIPPED["an index"] == (FLIPS, 0, 0)


@pytest.mark.timeout(120)
def test_of_1000_flipped_bits_without_an_index_the_page_says_how_many_are_silent(large):
    """Nothing in a plain tar guards its data; what is in its headers is noticed."""
    path, _ = large
    assert (
        outcomes(path, path, None, delivered(path))
        == FLIPPED["a shard without an index"]
    )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_flipped_pixel_is_one_broken_sample_of_the_epoch(indexed, num_workers):
    path, side_car = indexed
    file = ShardFile(ShardRef(path=str(path), index=str(side_car)))
    place = {f.extension: f for f in file.index.fields(7)}["png"].offset
    path.write_bytes(flipped(path.read_bytes(), place + 50))

    with pytest.raises(SampleBroken, match="CRC-32") as caught:
        streamed(str(path.parent), num_workers, fields="auto")
    assert (caught.value.key, caught.value.offset) == ("k007", place)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.timeout(30)
def test_a_missing_shard_is_an_error_at_once(tmp_path, num_workers):
    there = shard(tmp_path / "a.tar", pairs())
    gone = tmp_path / "b.tar"
    with pytest.raises(StoreError, match=r"b\.tar"):
        streamed([str(there), str(gone)], num_workers)
    shard(gone, [(f"h{n}", d) for n, d in pairs()])
    dataset = fiberaug.StreamingDataset(
        [str(there), str(gone)], fields={"image": "png"}, shuffle=False
    )
    gone.unlink()
    with pytest.raises(StoreError, match=r"b\.tar"):
        list(fiberaug.DataLoader(dataset, 4, num_workers=num_workers))


def test_a_data_set_with_a_shard_less_is_an_error_at_once(tmp_path, write_set):
    folder = write_set(30)
    path = sorted(tmp_path.glob("set/*.tar"))[1]
    path.unlink()
    with pytest.raises(StoreError, match=path.name):
        streamed(folder, fields="auto")


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_sample_that_lacks_a_member_is_named_replaced_or_masked(
    tmp_path, num_workers
):
    members = [m for m in pairs() if m[0] != "k07.cls"]
    path = str(shard(tmp_path / "a.tar", members))
    with pytest.raises(SampleBroken, match=r"label.*missing") as caught:
        streamed(path, num_workers)
    assert (caught.value.key, caught.value.shard) == ("k07", "a.tar")

    options = {"fields": {"image": "png", "label": "cls"}, "max_errors": 0.2}
    (masked,) = fiberaug.DataLoader(
        fiberaug.StreamingDataset(path, train=False, **options), 20
    )
    assert masked["is_pad"].tolist() == [i == 7 for i in range(20)]
    (replaced,) = fiberaug.DataLoader(fiberaug.StreamingDataset(path, **options), 20)
    assert not replaced["is_pad"].any()
    assert "k07" not in replaced["__key__"]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_cut_jpeg_is_one_line_with_shard_key_and_cause(tmp_path, num_workers):
    members = [(f"k{i}.jpg", encode_image(photo(i), "jpeg")) for i in range(8)]
    members[5] = ("k5.jpg", cut_jpeg(5))
    members[6] = ("k6.jpg", members[6][1][: len(members[6][1]) // 2])
    path = str(shard(tmp_path / "a.tar", members))
    with pytest.raises(SampleBroken) as caught:
        streamed(path, num_workers, fields={"image": "jpg"})
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in ("a.tar", "k5", "JPEG", "decode"))


LAYOUTS = {
    "missing pair": ([("b.png", 1), ("c.png", 2), ("c.cls", 2)], "label missing"),
    "adjacent duplicate": ([("b.png", 1), ("b.png", 2), ("b.cls", 1)], "two members"),
    "duplicate elsewhere": (
        [("b.png", 1), ("b.cls", 1), ("c.png", 2), ("c.cls", 2), ("b.png", 3),
         ("b.cls", 3)],
        "stands in a.tar too",
    ),
    "interleaved": (
        [("b.png", 1), ("c.png", 2), ("b.cls", 1), ("c.cls", 2)], "label missing",
    ),
    "two cases of one extension": ([("b.PNG", 1), ("b.png", 1)], "two members .png"),
    "dots in names": (
        [("b.001.png", 1), ("b.002.png", 2), ("b.cls", 1)], "image missing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_verify_names_what_pairs_keys_and_dots_do_to_a_set(tmp_path, layout):
    members, words = LAYOUTS[layout]
    rest = [("a.png", encode_image(photo(0), "png")), ("a.cls", b"0")]
    made = [
        (name, encode_image(photo(i), "png") if "png" in name.lower() else b"%d" % i)
        for name, i in members
    ]
    path = shard(tmp_path / "a.tar", rest + made)
    problems = verify(str(path), progress=False).problems

    assert any(words in problem.reason for problem in problems), problems
    assert {problem.shard for problem in problems} == {"a.tar"}
    assert all(problem.offset is not None for problem in problems)


def test_two_keys_that_differ_in_case_are_two_samples(tmp_path):
    image = encode_image(photo(0), "png")
    path = shard(tmp_path / "a.tar", [("a.png", image), ("A.png", image)])

    assert verify(str(path), progress=False).problems == []
    assert streamed(str(path), fields={"image": "png"}) == ["a", "A"]


@pytest.mark.parametrize("how", ["whole", "cut", "flipped", "wrong sum"])
def test_a_packed_shard_is_refused_before_its_bytes_are_believed(tmp_path, whole, how):
    packed = gzip.compress(whole, mtime=0)
    content = {
        "whole": packed,
        "cut": packed[: len(packed) // 2],
        "flipped": flipped(packed, len(packed) // 2),
        "wrong sum": packed[:-8] + bytes(8),
    }[how]
    (tmp_path / "a.tar.gz").write_bytes(content)
    (tmp_path / "b.tar").write_bytes(content)
    with pytest.raises(UsageError, match="gz"):
        streamed(str(tmp_path / "a.tar.gz"))
    with pytest.raises(ShardDamaged, match="unpacked by gzip"):
        streamed(str(tmp_path / "b.tar"))


def test_a_folder_without_shards_is_an_error_and_nothing_is_renamed(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").write_text("x")
    for what in (str(tmp_path / "empty"), str(tmp_path / "empty") + "/"):
        with pytest.raises(UsageError):
            fiberaug.StreamingDataset(what)
    assert [p.name for p in (tmp_path / "empty").iterdir()] == ["notes.txt"]


def test_the_damages_of_this_page_are_real(whole):
    """A whole shard reads; so what is refused above is refused for its damage."""
    assert len(headers(whole)) == 40
    assert np.array_equal(whole[-1024:], END)
    assert entry("k00.png", dict(rows())["k00"]["png"]) == whole[: headers(whole)[1]]
