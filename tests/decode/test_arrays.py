"""Laws of NumPy members: the array, or one error before memory is taken."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fiberaug.decode import arrays
from fiberaug.decode.arrays import decode_npy, decode_npz
from fiberaug.errors import LimitExceeded, SampleBroken


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npz(**named):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **named)
    return buffer.getvalue()


boxes = np.dtype([("x", "<f4"), ("label", ">i8", (2,))])
kinds = hnp.scalar_dtypes() | st.just(boxes)


@given(hnp.arrays(kinds, hnp.array_shapes(min_dims=0, min_side=0)), st.booleans())
@settings(deadline=None)
def test_an_array_comes_back_as_it_was_saved(array, transposed):
    array = array.T if transposed else array

    found = decode_npy(memoryview(npy(array)))

    assert found.dtype == array.dtype
    assert found.tobytes() == array.tobytes()
    assert found.shape == array.shape
    assert found.flags.writeable


def test_arrays_come_back_by_name():
    found = decode_npz(npz(depth=np.eye(3), flow=np.arange(4)))

    assert list(found) == ["depth", "flow"]
    assert np.array_equal(found["depth"], np.eye(3))


def header_of(shape, kind="<f4"):
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        npy(np.array([{}]), allow_pickle=True),
        header_of("(1, )", "|O") + b"\n" + bytes(8),
        header_of("(1000000000000, )") + b"\n" + bytes(64),
        header_of("(-1, )") + b"\n" + bytes(64),
        header_of("(-4, -4)") + b"\n" + bytes(64),
        header_of("(True.__class__, )") + b"\n",
        header_of("(2, )", "nonsense") + b"\n" + bytes(64),
        npy(np.eye(9))[:-1],
        npy(np.eye(9))[:40],
        b"",
        b"\x93NUMPY\x09\x00",
        b"PK\x03\x04" + bytes(64),
    ],
    ids=list("abcdefghijkl"),
)
def test_an_array_that_lies_or_holds_objects_is_refused(content):
    with pytest.raises(SampleBroken, match="array"):
        decode_npy(content)


@given(st.data())
@settings(deadline=None)
def test_damage_is_a_broken_sample_and_nothing_else(data):
    for decode, content in (
        (decode_npy, npy(np.eye(3))),
        (decode_npz, npz(a=np.eye(3))),
    ):
        damaged = bytearray(content)
        for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=5)):
            damaged[at] = data.draw(st.integers(0, 255))
        try:
            decode(bytes(damaged[: data.draw(st.integers(0, len(content)))]))
        except (SampleBroken, LimitExceeded):
            continue


def test_an_archive_whose_directory_points_before_its_start_is_refused():
    content = bytearray(npz(a=np.eye(3)))
    end = content.rindex(b"PK\5\6")
    content[end + 16 : end + 20] = b"\xff\xff\xff\x7f"

    with pytest.raises(SampleBroken, match="arrays"):
        decode_npz(bytes(content))


def test_an_array_of_objects_says_that_it_would_need_pickle():
    with pytest.raises(SampleBroken, match="pickle"):
        decode_npy(npy(np.array([{}]), allow_pickle=True))


def test_an_archive_of_something_else_is_refused():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("run.py", "import os")

    with pytest.raises(SampleBroken, match="array"):
        decode_npz(buffer.getvalue())


def test_a_small_archive_does_not_unpack_to_a_large_one(monkeypatch):
    bomb = npz(a=np.zeros(10**6))
    assert len(bomb) < 20_000
    monkeypatch.setattr(arrays, "_MOST_BYTES", 10**6)

    with pytest.raises(LimitExceeded, match="limit is 1000000"):
        decode_npz(bomb)
