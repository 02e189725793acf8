"""Laws of errors: a tree, each with its place, whole on the way from a worker."""

import copy
import pickle
import re

import pytest

from fiberaug import errors
from fiberaug.cli.main import exit_code
from fiberaug.errors import (
    DataRefused,
    FiberAugError,
    SampleBroken,
    StoreError,
    UsageError,
)

TREE = [getattr(errors, name) for name in errors.__all__]
PLACE = {"shard": "a.tar", "key": "s/7", "offset": 512, "stage": "decode"}


@pytest.mark.parametrize("kind", TREE)
def test_an_error_survives_pickling_with_its_place(kind):
    error = kind("too dark", **PLACE)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert again.args == error.args == ("too dark",)
        assert {name: getattr(again, name) for name in PLACE} == PLACE
        assert again.message == "too dark"


@pytest.mark.parametrize("kind", TREE)
def test_an_error_survives_pickling_with_its_notes(kind):
    """The traceback of a worker travels as a note."""
    error = kind("too dark", **PLACE)
    error.add_note("in worker 3")
    error.add_note("Traceback ...")

    assert pickle.loads(pickle.dumps(error)).__notes__ == error.__notes__


@pytest.mark.parametrize("kind", TREE)
def test_what_is_unknown_is_none_and_not_in_the_message(kind):
    error = kind("too dark", stage="decode", offset=0)

    assert (error.shard, error.key, error.offset) == (None, None, 0)
    assert str(error) == "too dark [offset 0, stage decode]"
    assert str(kind("too dark")) == "too dark"


def test_the_message_ends_with_the_whole_place():
    assert str(SampleBroken("too dark", **PLACE)) == (
        "too dark [shard a.tar, key s/7, offset 512, stage decode]"
    )


def test_located_fills_in_what_was_unknown_and_keeps_what_is_known():
    error = SampleBroken("too dark", key="s/7", offset=0)
    with pytest.raises(SampleBroken) as caught:
        raise error.located(shard="a.tar", key="other", offset=99, stage="decode")

    assert caught.value is error
    place = {name: getattr(error, name) for name in PLACE}
    assert place == {**PLACE, "offset": 0}
    assert error.located(**dict.fromkeys(PLACE)) is error
    assert {name: getattr(error, name) for name in PLACE} == place


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    drawn, parents = {}, {-1: None}
    for line in errors.__doc__.splitlines():
        found = re.match(r"    ([│ ├└─]*)(\w+)(?: \((\w+)\))?(?: {2}|$)", line)
        if found:
            depth = len(found[1]) // 4
            parents[depth] = found[2]
            drawn[found[2]] = [parents[depth - 1] or "Exception", found[3]]

    assert drawn == {
        kind.__name__: [
            kind.__bases__[0].__name__,
            kind.__bases__[1].__name__ if len(kind.__bases__) > 1 else None,
        ]
        for kind in TREE
    }


def test_every_error_is_one_of_the_tree_and_is_public():
    classes = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, Exception)
    }

    assert classes == set(TREE)
    assert all(issubclass(kind, FiberAugError) for kind in TREE)
    assert all(kind.__doc__ for kind in TREE)


@pytest.mark.parametrize(
    ("builtin", "kinds"),
    [
        (ValueError, {"UsageError", "DataRefused", "StateMismatch", "ReplayMismatch"}),
        (OSError, {"StoreError"}),
        (RuntimeError, {"WorkerDied"}),
    ],
)
def test_an_error_is_caught_as_the_builtin_that_it_is(builtin, kinds):
    data = {kind.__name__ for kind in TREE if issubclass(kind, DataRefused)}
    if "DataRefused" in kinds:
        kinds = kinds | data

    assert {k.__name__ for k in TREE if issubclass(k, builtin)} == kinds


@pytest.mark.parametrize("kind", TREE)
def test_the_exit_code_says_whose_fault_it_is(kind):
    """2 the user's, 3 the data's, 4 the disk's or the net's, 1 everything else."""
    family = {UsageError: 2, DataRefused: 3, StoreError: 4}
    expected = [code for parent, code in family.items() if issubclass(kind, parent)]

    assert exit_code(kind("x")) == (expected or [1])[0]
