"""Callables of which nothing is known are keyed, leave no trace, and have a name."""

import functools
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.augment.opaque import callable_name, keyed_globals, source_hash

KEY = bytes(range(16))


def draw_all():
    return (
        random.random(),
        float(np.random.rand()),
        float(np.random.randn()),
        float(torch.rand(1)),
    )


def states():
    numpy = np.random.get_state()
    return (
        random.getstate(),
        (numpy[0], numpy[1].tolist(), *numpy[2:]),
        torch.default_generator.get_state().tolist(),
    )


@given(st.binary(min_size=16, max_size=16), st.integers(0, 3), st.booleans())
def test_what_is_drawn_is_a_function_of_the_key(key, before, gauss):
    """Not of what was drawn before, nor of how far anything else has drawn."""
    with keyed_globals(key):
        first = draw_all()
    for _ in range(before):
        draw_all()
        random.gauss(0, 1)
        if gauss:
            np.random.randn()
    with keyed_globals(key):
        assert draw_all() == first


def test_other_keys_draw_other_numbers_from_each_generator():
    with keyed_globals(KEY):
        first = draw_all()
    with keyed_globals(KEY[::-1]):
        assert all(a != b for a, b in zip(draw_all(), first, strict=True))


@pytest.mark.parametrize("normals", range(4))
def test_the_users_generators_are_as_they_were(normals):
    """Also half of a pair of normal numbers that numpy keeps, and after an error."""
    np.random.seed(5)
    for _ in range(normals):
        np.random.randn()
        random.gauss(0, 1)
    before = states()

    @keyed_globals(KEY)
    def fails():
        draw_all()
        np.random.seed(1)
        torch.manual_seed(3)
        raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert states() == before


def test_a_user_with_another_bit_generator_keeps_it():
    usual, own = np.random.get_bit_generator(), np.random.PCG64(7)
    np.random.set_bit_generator(own)
    try:
        np.random.randn()
        before = own.state
        with keyed_globals(KEY):
            inside = np.random.rand()
        assert np.random.get_bit_generator() is own
        assert own.state == before
    finally:
        np.random.set_bit_generator(usual)
    with keyed_globals(KEY):
        assert np.random.rand() == inside


def test_a_guard_inside_of_a_guard_does_not_disturb_it():
    with keyed_globals(KEY):
        undisturbed = [draw_all(), draw_all()]
    with keyed_globals(KEY):
        first = draw_all()
        with keyed_globals(KEY[::-1]):
            draw_all()
        assert [first, draw_all()] == undisturbed


def scaled(factor, *, offset=1):
    return lambda sample: sample | {"x": factor, "offset": offset}


class Adder:
    def __init__(self, amount):
        self.amount = amount
        self.table = {"weights": np.arange(3)}

    def __call__(self, sample):
        return sample

    def method(self, sample):
        return sample


def test_the_hash_names_what_a_callable_is_and_holds():
    table = Adder(1)
    table.table["weights"] = np.arange(4)
    different = [
        scaled(1), scaled(2), scaled(1, offset=2), Adder(1), Adder(2), table,
        Adder(1).method, functools.partial(scaled, 1), functools.partial(scaled, 2),
        functools.partial(scaled, 1, offset=3), len, draw_all,
    ]  # fmt: skip
    hashes = [source_hash(what) for what in different]

    assert len(set(hashes)) == len(hashes)
    assert source_hash(scaled(1)) == hashes[0]
    assert source_hash(Adder(1)) == hashes[3]


def test_the_hash_does_not_depend_on_where_objects_lie_in_memory():
    held = {str(i): scaled(i) for i in range(20)}
    first = source_hash(held)
    for _ in range(50):
        garbage = [Adder(i) for i in range(37)]
        assert source_hash({str(i): scaled(i) for i in range(20)}) == first
        del garbage


def test_an_object_that_holds_itself_has_a_hash():
    adder = Adder(1)
    adder.me = adder

    assert source_hash(adder) != source_hash(Adder(1))


TYPED = """
exec("def typed(sample):\\n    return sample['image'] + {constant}")
from fiberaug.augment.opaque import source_hash
print(source_hash(typed))
"""


def test_the_hash_is_the_same_in_every_process_also_without_source_text():
    def hash_of(constant):
        code = TYPED.format(constant=constant)
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout

    assert hash_of(1) == hash_of(1) != hash_of(2)


def test_a_callable_is_called_by_its_qualified_name():
    assert callable_name(draw_all).endswith("test_opaque.draw_all")
    assert callable_name(Adder(1)).endswith("test_opaque.Adder")
    assert callable_name(functools.partial(draw_all)) == (
        f"functools.partial({callable_name(draw_all)})"
    )
