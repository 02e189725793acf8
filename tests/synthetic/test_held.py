"""Laws of objects that processes share."""

import multiprocessing
import pickle

import pytest
from generators import Shapes

from fiberaug.synthetic.held import Held


def test_an_object_is_made_once_and_when_it_is_needed():
    made = []
    held = Held(lambda: made.append(1) or Shapes(), factory=True)

    assert not made
    assert held.get() is held.get()
    assert made == [1]


def test_what_is_sent_to_a_forked_process_is_a_number():
    """A network is not pickled for every batch."""
    held = Held(Shapes((500, 500)), factory=False)
    data = pickle.dumps(held)

    assert len(data) < 200
    assert pickle.loads(data).get() is held.get()  # our own


@pytest.mark.parametrize("factory", [False, True])
def test_where_nothing_is_forked_the_object_goes_along(monkeypatch, factory):
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    held = Held(Shapes if factory else Shapes((5, 6)), factory=factory)
    data = pickle.dumps(held)
    held.release()
    other = pickle.loads(data)  # our own

    assert other.get().size == ((24, 32) if factory else (5, 6))
    other.release()
    with pytest.raises(KeyError):
        other.get()
