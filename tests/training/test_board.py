"""TensorBoard shows the figures over images, and nothing of a step that was undone."""

import importlib.util
import sys
from pathlib import Path

import pytest
from watched import ROWS, go, view_of

from fiberaug.errors import UsageError
from fiberaug.training.board import Board
from fiberaug.training.grids import Grids
from fiberaug.training.watching import standard_watchers

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="pip install tensorboard"
)


def shown(folder):
    """Return (images, value) of each figure, and images at which pictures are."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    events.Reload()
    tags = events.Tags()
    scalars = {
        tag: [(one.step, one.value) for one in events.Scalars(tag)]
        for tag in tags["scalars"]
    }
    pictures = [one.step for tag in tags["images"] for one in events.Images(tag)]
    return scalars, pictures


def test_without_tensorboard_a_board_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"pip install fiberaug\[board\]"):
        Board()
    with pytest.raises(UsageError, match=r"pip install fiberaug\[board\]"):
        standard_watchers(board=True)
    standard_watchers()


@needs_tensorboard
@pytest.mark.filterwarnings("ignore")  # TensorBoard's own
def test_curves_and_pictures_are_those_of_an_unbroken_training(tmp_path):
    def watchers():
        return [Grids(every=4 * ROWS), Board(every=2 * ROWS)]

    view = view_of(tmp_path / "a", steps=20)
    running = watchers()
    for one in running:
        one.begin(view)
    go(view, running, 10)
    states = [one.state_dict() for one in running]
    go(view, running, 15)
    view.step, view.nimg = 10, 10 * ROWS  # it goes back
    for one, state in zip(running, states, strict=True):
        one.load_state_dict(state)
    go(view, running, 20)
    for one in running:
        one.end(view)
    scalars, pictures = shown(Path(tmp_path, "a", "board"))

    times = [n * ROWS for n in range(2, 21, 2)]
    assert [step for step, _ in scalars["loss_critic"]] == times
    for step, value in scalars["gap"]:
        expected = view.task.figures(step // ROWS)["gap"]
        assert value == pytest.approx(expected, rel=1e-5)
    assert pictures == [n * ROWS for n in range(4, 21, 4)]


@needs_tensorboard
@pytest.mark.filterwarnings("ignore")
def test_standard_watchers_have_a_board_where_it_is_asked_for():
    assert any(isinstance(one, Board) for one in standard_watchers(board=True))
