"""Laws of the journal: what was noted is there, whatever tore the file."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fiberaug.errors import StoreError
from fiberaug.jobs.copies import Fingerprint
from fiberaug.synthetic.journal import Journal
from fiberaug.synthetic.made import MadeSample


def sample(number):
    rng = np.random.default_rng(number)
    return MadeSample(
        label=number % 3, number=number, seed=2**63 - 1 - number, shape=(4, 5, 3),
        extension="png", image=rng.bytes(10 + number % 50), pixels="p", rgb="r",
        looks=Fingerprint(2**64 - 1 - number, rng.integers(0, 256, (16, 16), np.uint8)),
        confidence=None if number % 2 else 0.25, text='{"é": 1}', parts=("train", ""),
    )  # fmt: skip


def same(one, other):
    equal = np.array_equal(one.looks.thumbnail, other.looks.thumbnail)
    return equal and one._replace(looks=one.looks.hash) == other._replace(
        looks=other.looks.hash
    )


def read(path):
    with Journal(path) as journal:
        return list(journal.read())


def note(path, numbers):
    with Journal(path) as journal:
        assert list(journal.read()) is not None
        for number in numbers:
            journal.write(sample(number), number / 4)


@given(
    cut=st.integers(0, 3000), flip=st.integers(0, 3000), torn=st.booleans(),
)  # fmt: skip
@settings(
    max_examples=40, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_what_stands_before_a_tear_is_kept_and_added_to(tmp_path, cut, flip, torn):
    path = tmp_path / "samples"
    path.unlink(missing_ok=True)
    note(path, range(5))
    data = bytearray(path.read_bytes())
    ends = np.cumsum([len(data) // 5] * 5)  # about: frames are nearly of one size
    if torn:
        del data[cut:]
    elif flip < len(data):
        data[flip] ^= 0x10
    path.write_bytes(data)
    note(path, range(5, 8))
    found = read(path)
    kept = len(found) - 3
    place = cut if torn else flip

    assert abs(kept - np.searchsorted(ends, min(place, len(data)), "right")) <= 1
    expected = [*range(kept), 5, 6, 7]
    for (made, seconds), number in zip(found, expected, strict=True):
        assert same(made, sample(number))
        assert seconds == number / 4


def test_a_length_that_cannot_be_is_no_frame(tmp_path):
    path = tmp_path / "samples"
    note(path, [1])
    good = path.read_bytes()
    path.write_bytes(good + b"\xff" * 40)

    assert len(read(path)) == 1
    assert path.read_bytes() == good


@pytest.mark.parametrize("text", [b"{}", b"[]", b'"', b'{"seconds": 1, "looks": 3}'])
def test_a_sound_frame_of_something_else_is_no_sample(tmp_path, text):
    path = tmp_path / "samples"
    note(path, [1])
    good = path.read_bytes()
    head = struct.pack("<QII", 0, len(text), zlib.crc32(text))
    path.write_bytes(good + head + text)

    assert len(read(path)) == 1
    assert path.read_bytes() == good


def test_a_journal_that_is_replaced_is_read_to_its_end(tmp_path):
    path = tmp_path / "samples"
    note(path, range(3))
    journal = Journal(path)
    frames = journal.read()
    first = next(frames)
    path.unlink()
    journal.close()

    assert same(first[0], sample(0))
    assert len(list(frames)) == 2


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(StoreError, match=r"cannot write .*samples"):
        Journal(tmp_path / "nothing" / "samples")
