"""Laws of a log's frames: cut or damaged anywhere, what was whole is read."""

import io
import logging
import random
import tracemalloc
from itertools import accumulate, pairwise

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fiberaug.errors import DataRefused, StoreError
from fiberaug.runlog_frames import frames, mend, pack_lines, read_lines

LAW = settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def batch(number, count=3, size=20):
    """Lines that no other batch has, hard to compress."""
    draw = random.Random(number)
    return [
        f'{{"n": {number}, "x": "{draw.randbytes(size).hex()}"}}' for _ in range(count)
    ]


def pack(lines):
    return pack_lines("".join(line + "\n" for line in lines))


MAGIC = b"(\xb5/\xfd"
BATCHES = [batch(n) for n in range(4)]
DATA = b"".join(map(pack, BATCHES))
SPANS = list(pairwise([0, *accumulate(len(pack(lines)) for lines in BATCHES)]))


def joined(batches):
    return [line for lines in batches for line in lines]


def before(cut):
    """Lines of the batches that end at or before a byte."""
    return joined(
        lines for lines, (_, end) in zip(BATCHES, SPANS, strict=True) if end <= cut
    )


def read(path, **options):
    return [line.decode() for _, line in read_lines(path, **options)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log"


# ---- cut by a kill ------------------------------------------------------------------


def test_cut_at_any_byte_the_batches_before_the_cut_are_read_and_nothing_else(path):
    for cut in range(len(DATA) + 1):
        path.write_bytes(DATA[:cut])

        assert read(path) == before(cut)


@pytest.mark.parametrize(
    "tail", [b"", bytes(5000), b"\xff" * 300, b"(\xb5/\xfd" * 9], ids=len
)
def test_cut_at_any_byte_a_file_is_mended_without_loss_and_can_be_appended_to(
    path, tail
):
    """What was cut off, zeros or garbage: whole frames stay byte for byte."""
    more = batch(99)
    for cut in range(len(DATA) + 1):
        whole = max((end for _, end in SPANS if end <= cut), default=0)
        path.write_bytes(DATA[:cut] + tail)
        mend(path)
        with path.open("ab") as file:
            file.write(pack(more))

        assert path.read_bytes() == DATA[:whole] + pack(more)
        assert read(path) == before(cut) + more


def test_any_reader_of_zstd_reads_a_mended_file(path):
    path.write_bytes(DATA[:-3])
    mend(path)
    with path.open("rb") as file:
        reader = zstandard.ZstdDecompressor()
        text = reader.stream_reader(file, read_across_frames=True).read()

    assert text.decode().splitlines() == joined(BATCHES[:-1])


@LAW
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 400)), max_size=6))
def test_cut_and_continued_again_and_again_every_whole_batch_is_there_once(path, lives):
    """Each life appends some batches and loses bytes of its last ones."""
    path.write_bytes(b"")
    expected = []
    for life, (count, lost) in enumerate(lives):
        mend(path)
        whole = path.read_bytes()
        written = [batch(100 * life + n) for n in range(count)]
        ends = list(accumulate(len(pack(lines)) for lines in written))
        kept = max(ends[-1] - lost, 0)
        path.write_bytes(whole + b"".join(map(pack, written))[:kept])
        expected += joined(
            lines for lines, end in zip(written, ends, strict=True) if end <= kept
        )
        assert read(path) == expected


def test_a_batch_of_many_blocks_is_there_whole_or_not_at_all(path):
    """Cut between two of its blocks, where each block is whole."""
    large = pack(batch(7, 40, 20_000))
    assert len(large) > 2**19
    path.write_bytes(DATA + large[:-4])

    assert read(path) == joined(BATCHES)
    path.write_bytes(DATA + large)
    assert read(path) == [*joined(BATCHES), *batch(7, 40, 20_000)]


def test_mending_a_file_that_is_larger_than_what_is_looked_at(path):
    """Only its end is read; nothing before it is taken for it."""
    large = pack(batch(7, 60, 40_000))
    assert len(large) > 2**21
    for cut in (1, len(large) - 1, len(large)):
        path.write_bytes(DATA + 3 * large + pack(batch(8)) + large[:cut])
        mend(path)
        kept = large[:cut] if cut == len(large) else b""
        assert path.read_bytes() == DATA + 3 * large + pack(batch(8)) + kept
    path.write_bytes(DATA + pack(batch(7, 150, 40_000))[:-1])
    mend(path)
    assert path.read_bytes() == DATA


def test_a_file_that_is_not_there_is_not_made(path):
    mend(path)

    assert not path.exists()


# ---- damage -------------------------------------------------------------------------


def flips(bit, ends):
    """DATA with one bit flipped in each byte, and the number of its frame."""
    for number, (start, end) in enumerate(SPANS[:ends]):
        for at in range(start, end):
            data = bytearray(DATA)
            data[at] ^= 1 << bit
            yield number, bytes(data)


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_bit_is_said_and_all_other_batches_are_read(path, caplog, bit):
    """Never a wrong line: a batch is given when its checksum is right."""
    said = total = 0
    for number, data in flips(bit, len(BATCHES) - 1):
        path.write_bytes(data)
        caplog.clear()
        lines, total = read(path, skip_damaged=True), total + 1
        if lines == joined(BATCHES):  # a bit that decides nothing
            assert read(path) == lines
            continue
        said += 1
        assert lines == joined(BATCHES[:number] + BATCHES[number + 1 :])
        assert f"{path} is damaged in bytes {SPANS[number][0]} to" in caplog.text
        given = []
        with pytest.raises(DataRefused, match="skip_damaged=True") as caught:
            given.extend(line.decode() for _, line in read_lines(path))
        assert caught.value.offset == SPANS[number][0]
        assert str(path) in str(caught.value)
    assert said > 0.95 * total


@pytest.mark.parametrize("bit", [0, 2, 6])
def test_mending_leaves_damage_in_the_middle_where_it_is(path, bit):
    """A wrong length of a block must not make a tail of all frames behind it."""
    for _, data in flips(bit, len(BATCHES) - 1):
        path.write_bytes(data + b"cut")
        mend(path)

        assert path.read_bytes() == data


def test_what_stands_before_a_damage_is_given_before_it_is_said(path):
    start, end = SPANS[2]
    data = bytearray(DATA)
    data[(start + end) // 2] ^= 16
    path.write_bytes(data)
    lines = read_lines(path)

    assert [next(lines)[1].decode() for _ in range(6)] == joined(BATCHES[:2])
    with pytest.raises(DataRefused, match="is damaged in bytes"):
        next(lines)


@LAW
@given(st.data())
def test_bytes_that_are_lost_cost_the_batches_they_were_of(path, data):
    first = data.draw(st.integers(0, SPANS[-2][1] - 1))
    last = data.draw(st.integers(first + 1, SPANS[-2][1]))
    path.write_bytes(DATA[:first] + DATA[last:])

    assert read(path, skip_damaged=True) == joined(
        lines
        for lines, (start, end) in zip(BATCHES, SPANS, strict=True)
        if end <= first or start >= last
    )


@pytest.mark.parametrize("zeros", [1, 40, 5000])
def test_zeros_behind_a_cut_are_taken_for_it(path, zeros):
    """A machine that lost power leaves zeros where nothing was written yet.

    A cut in the four bytes of a magic number or a checksum cannot be told from damage,
    and is said.
    """
    start, end = SPANS[-1]
    for cut in (start, *range(start + 4, end - 3), end):
        path.write_bytes(DATA[:cut] + bytes(zeros))

        assert read(path) == before(cut)


def test_garbage_at_the_end_is_said_and_cut_off(path, caplog):
    path.write_bytes(DATA + b"garbage")
    with pytest.raises(DataRefused, match="is damaged in bytes") as caught:
        read(path)
    assert caught.value.offset == len(DATA)
    with caplog.at_level(logging.WARNING):
        mend(path)
    assert f"bytes {len(DATA)} to {len(DATA) + 7}" in caplog.text
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("at", [-60, -20, -4, -1])
def test_damage_in_the_last_batch_is_said(path, at):
    data = bytearray(DATA)
    data[at] ^= 64
    path.write_bytes(data)
    with pytest.raises(DataRefused) as caught:
        read(path)

    assert caught.value.offset == SPANS[-1][0]


@pytest.mark.parametrize("block", [3 << 1 | 5 << 3, (2**17 + 1) << 3])
def test_a_block_that_cannot_be_is_damage_and_no_cut(path, block):
    """Of the reserved type, or larger than 128 KiB."""
    path.write_bytes(DATA + MAGIC + b"\0\x58" + block.to_bytes(3, "little") + b"xy")
    with pytest.raises(DataRefused, match=f"in bytes {len(DATA)} to"):
        read(path)


def test_the_magic_number_inside_of_a_cut_frame_does_not_begin_another(path):
    """A frame of the log begins with a line of JSON."""
    inside = MAGIC + b"\0\x58" + b"\x28\0\0nonce" + bytes(9)
    path.write_bytes(DATA + MAGIC + b"\0\x58" + b"\0\x08\0" + inside)

    assert read(path) == joined(BATCHES)


@pytest.mark.parametrize("before_it", [1, 2, 3, 4])
def test_the_next_frame_is_found_wherever_it_begins(path, before_it):
    """Also across the border of two chunks that are searched, of 1 MiB."""
    path.write_bytes(b"x" * (2**20 + 1 - before_it) + DATA)

    assert read(path, skip_damaged=True) == joined(BATCHES)


def test_a_batch_of_equal_bytes_is_read(path):
    """Blocks that say once what they repeat, RFC 8878 section 3.1.1.2.2."""
    lines = ['{"x": "%s"}' % ("a" * 10**6)]
    path.write_bytes(pack(lines) + DATA)

    assert len(pack(lines)) < 300
    assert read(path) == lines + joined(BATCHES)


# ---- size ---------------------------------------------------------------------------


def test_frames_cover_a_file_without_gaps():
    found = list(frames(io.BytesIO(DATA), len(DATA) - 1))

    assert [(f.start, f.end) for f in found[:-1]] == SPANS[:-1]
    assert found[-1] == (SPANS[-1][0], len(DATA) - 1, "cut")
    assert {f.state for f in found[:-1]} == {"whole"}


def test_memory_of_reading_and_mending_does_not_grow_with_the_log(tmp_path):
    def most_bytes(count):
        path = tmp_path / f"{count}"
        with path.open("wb") as file:
            for n in range(count):
                file.write(pack(batch(n, 64, 400)))
            file.write(pack(batch(0))[:-1])
        tracemalloc.start()
        lines = sum(1 for _ in read_lines(path))
        mend(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return lines, path.stat().st_size, peak

    most_bytes(1)  # what is made once
    lines, _, small = most_bytes(200)
    more, size, large = most_bytes(1000)

    assert (lines, more) == (64 * 200, 64 * 1000)
    assert large < 1.1 * small < size / 5


def test_a_file_that_cannot_be_read_is_a_store_error(path):
    path.mkdir()
    with pytest.raises(StoreError, match="cannot read"):
        read(path)
