"""What is told of a training: a bar on a terminal, a line now and then elsewhere."""

import io
import logging

import pytest
from watched import ROWS, go, view_of

from fiberaug.training.board import Board
from fiberaug.training.console import Console, summary
from fiberaug.training.watching import standard_watchers


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watched(view, until, console=None):
    console = console or Console(every_s=0)
    console.begin(view)
    go(view, [console], until)
    return console


def test_a_log_gets_lines_with_images_losses_and_the_time_left(tmp_path, caplog):
    view = view_of(tmp_path / "a", steps=20)
    view.images_per_s = 0.5
    with caplog.at_level(logging.INFO, logger="fiberaug"):
        watched(view, 10).end(view)
    lines = [record.getMessage() for record in caplog.records]

    assert len(lines) == 11
    assert lines[0].startswith("8 of 160 images (5%), 0.5 images/s, 5 min left; critic")
    assert lines[-1].startswith("80 of 160 images (50%)")
    for word in ("generator 0.", "gap 0.", "kid 0.1"):
        assert word in lines[-1]


def test_between_two_lines_a_log_is_quiet(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="fiberaug"):
        view = view_of(tmp_path / "a", steps=20)
        watched(view, 20, Console(every_s=1_000))
    assert not caplog.records


def test_a_terminal_gets_a_bar_that_can_go_back(tmp_path, monkeypatch, caplog):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    view = view_of(tmp_path / "a", steps=20)
    view.step, view.nimg = 4, 4 * ROWS
    with caplog.at_level(logging.INFO, logger="fiberaug"):
        console = watched(view, 12)
        view.step, view.nimg = 8, 8 * ROWS
        console.load_state_dict(console.state_dict())
        go(view, [console], 20)
        console.end(view)
    told = terminal.getvalue()

    assert not caplog.records
    assert "train:" in told
    assert "160/160" in told
    assert "critic" in told
    assert console._bar is None


@pytest.mark.parametrize(
    ("left", "words"), [(80, "80 s left"), (1_200, "20 min left"), (9e4, "25.0 h left")]
)
def test_time_left_is_in_units_that_one_reads(tmp_path, left, words):
    view = view_of(tmp_path / "a", steps=10)
    view.images_per_s = view.total / left
    assert words in summary(view)
    view.nimg = view.total + 5
    assert summary(view) == f"80 of 80 images (100%), {view.images_per_s:.3g} images/s"


def test_the_table_is_written_last_and_the_guard_looks_first(tmp_path):
    own = Console()
    names = [type(one).__name__ for one in standard_watchers(also=[own])]
    assert names == ["Guard", "Console", "Grids", "Console", "Diary"]
    names = [type(one).__name__ for one in standard_watchers(console=False)]
    assert names == ["Guard", "Grids", "Diary"]
    assert not any(isinstance(one, Board) for one in standard_watchers())
