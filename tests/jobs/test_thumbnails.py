"""Laws of thumbnails in a file: those that were added, and the same copies found."""

import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.errors import StoreError
from fiberaug.jobs.copies import near_copies
from fiberaug.jobs.thumbnails import Thumbnails


def some(count, seed):
    """Thumbnails, a third of them near-copies of one before."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 256, (count, 16, 16), np.uint8)
    for i in range(2, count, 3):
        found[i] = found[i - 2] ^ rng.integers(0, 2, (16, 16), np.uint8)
    return found


def in_file(thumbnails, cuts):
    made = Thumbnails()
    for part in np.split(thumbnails, sorted(cuts)):
        made.append(part)
    return made


@given(
    count=st.integers(0, 9), seed=st.integers(0, 9), data=st.data(),
    cuts=st.lists(st.integers(0, 9), max_size=3),
)  # fmt: skip
def test_thumbnails_are_those_that_were_added(count, seed, data, cuts):
    wanted = some(count, seed)
    with in_file(wanted, cuts) as made:
        assert made.shape == wanted.shape
        begin, end = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 12))
        np.testing.assert_array_equal(
            made[begin:end], wanted.reshape(-1, 256)[begin:end]
        )
        if not count:
            return
        rows = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=6)), int)
        pairs = np.stack([rows, rows[::-1]])
        for asked in (rows, pairs):
            found = made[asked]
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, wanted.reshape(-1, 256)[asked])


@settings(deadline=None)
@given(count=st.integers(0, 40), seed=st.integers(0, 99), bits=st.integers(1, 8))
def test_copies_are_the_same_whether_thumbnails_lie_in_a_file(count, seed, bits):
    thumbnails = some(count, seed)
    hashes = np.random.default_rng(seed).integers(0, 2**bits, count).astype(np.uint64)
    with in_file(thumbnails, [count // 2]) as made:
        found = near_copies(hashes, made)
    np.testing.assert_array_equal(found, near_copies(hashes, thumbnails))


def test_nothing_is_left_and_the_file_has_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with in_file(some(3, 0), []) as made:
        assert made[np.array([1])].shape == (1, 256)
        assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="closed"):
        made[:1]


def test_a_full_disk_is_a_store_error_that_names_the_remedy(monkeypatch):
    class Full:
        def write(self, _data):
            raise OSError(28, "No space left on device")

    with Thumbnails() as made:
        monkeypatch.setattr(made, "_file", Full())
        with pytest.raises(StoreError, match=r"No space left.*TMPDIR"):
            made.append(some(1, 0))
        monkeypatch.undo()
