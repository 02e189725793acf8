"""Memory of images is used again when nobody can see it, and never before."""

import threading

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.decode.buffers import image_buffer

MB = 2**20


def address(array):
    return array.__array_interface__["data"][0]


def test_what_nobody_holds_is_given_again():
    first = image_buffer((1000, 1000, 3))
    place = address(first)
    del first
    assert address(image_buffer((900, 1000, 3))) == place


def test_a_view_of_a_view_keeps_its_pixels():
    first = image_buffer((1000, 1000, 3))
    first[:] = 7
    part = first[5:9].transpose(2, 0, 1)[1:].reshape(-1)
    del first
    image_buffer((1000, 1000, 3))[:] = 0
    assert (part == 7).all()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(MB // 2, 9 * MB), st.booleans()), max_size=12))
def test_no_two_that_are_held_share_memory(sizes):
    held = []
    for number, (size, keep) in enumerate(sizes):
        array = image_buffer((size,))
        assert (array.shape, array.dtype) == ((size,), np.uint8)
        array[:] = number
        if keep:
            held.append((number, array[1:]))
        del array
    assert all((array == number).all() for number, array in held)


def test_threads_have_memory_of_their_own():
    mine = image_buffer((4 * MB,))
    place, others = address(mine), []
    del mine
    thread = threading.Thread(
        target=lambda: others.append(address(image_buffer((4 * MB,))))
    )
    thread.start()
    thread.join()
    assert others != [place]
    assert address(image_buffer((4 * MB,))) == place


def test_a_huge_one_is_not_kept_for_small_ones():
    image_buffer((100 * MB,))
    small = image_buffer((2 * MB,))
    owner = small.base
    while owner.base is not None:
        owner = owner.base
    assert owner.nbytes == 2 * MB
