"""The picture of the figures: every figure is in it, and every value has its place."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fiberaug.errors import DataRefused, UsageError
from fiberaug.training.axes import Axis, named
from fiberaug.training.curves import draw_curves
from fiberaug.training.tables import Table

VALUES = st.floats(-1e12, 1e12, allow_subnormal=False)
BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def table(folder, count, **figures):
    found = Table(folder / "loss.csv", ("step", "nimg"))
    for step in range(1, count + 1):
        row = {name: at(step) for name, at in figures.items()}
        found.add({"step": step, "nimg": 64 * step, **row})
    found.flush()
    return found.path


def rows_of(picture, colour, frame=(63, 64, 982, 268)):
    """Return the rows of a panel in which pixels have a colour, by column."""
    left, top, right, bottom = frame
    inside = np.asarray(picture)[top:bottom, left:right]
    there = (np.abs(inside.astype(int) - colour) < 12).all(2)
    return [np.flatnonzero(there[:, x]) for x in range(there.shape[1])]


@given(values=st.lists(VALUES, min_size=1, max_size=20))
def test_all_values_lie_on_their_axis_and_so_do_its_ticks(values):
    axis = Axis.around(np.asarray(values))
    places = axis.place(np.asarray(values))
    assert (places <= 1).all()
    assert (places[np.asarray(values) > 1e-12 * max(values)] >= 0).all()
    assert (np.diff(places[np.argsort(values)]) >= 0).all()
    ticks = np.asarray(axis.ticks(5))
    assert ((axis.place(ticks) >= -1e-6) & (axis.place(ticks) <= 1 + 1e-6)).all()
    assert len(ticks) <= 8


@given(low=st.floats(1e-9, 1e6), times=st.floats(31, 1e9))
def test_what_spans_decades_is_shown_in_powers_of_ten(low, times):
    values = np.asarray([low, low * times])
    axis = Axis.around(values)
    assert axis.log
    assert ((axis.place(values) >= 0) & (axis.place(values) <= 1)).all()
    assert len(axis.ticks()) >= 1
    assert not Axis.around(values, log=False).log
    assert not Axis.around(-values, log=True).log


def test_ticks_are_round_numbers_with_short_names():
    assert Axis(low=0, high=384_000).ticks(5) == [0, 100_000, 200_000, 300_000]
    assert Axis(low=0.13, high=0.88).ticks(4) == [0.2, 0.4, 0.6, 0.8]
    assert Axis(low=1e-5, high=0.02, log=True).ticks() == [1e-5, 1e-4, 1e-3, 1e-2]
    assert [named(v) for v in (0, 0.2, 1_500, 2e6, -3e9)] == [
        "0", "0.2", "1.5k", "2M", "-3G"
    ]  # fmt: skip


@pytest.mark.parametrize("count", [3, 40, 2_000])
def test_a_curve_falls_where_its_figure_falls(tmp_path, count):
    path = table(
        tmp_path,
        count,
        loss_critic=lambda step: 1 - step / count,
        loss_generator=lambda step: step / count,
    )
    picture = draw_curves(path)
    falls, rises = (rows_of(picture, colour) for colour in (BLUE, ORANGE))
    falls, rises = ([r.mean() for r in rows if len(r)] for rows in (falls, rises))

    assert falls[0] < (80 if count == 3 else 20)
    assert falls[-1] > 184
    assert rises[0] > (120 if count == 3 else 184)
    assert rises[-1] < 20


def test_a_value_that_is_no_number_is_a_gap(tmp_path):
    whole = table(tmp_path, 100, loss=lambda step: 0.5 + step / 1000)
    there = [len(r) > 0 for r in rows_of(draw_curves(whole), BLUE)]
    whole.unlink()
    gap = table(
        tmp_path, 100, loss=lambda step: math.nan if 40 < step < 60 else step / 100
    )
    with_gap = [len(r) > 0 for r in rows_of(draw_curves(gap), BLUE)]

    assert np.mean(there[20:-20]) > 0.9
    assert np.mean(with_gap[385:535]) == 0
    assert np.mean(with_gap[20:350] + with_gap[570:-20]) > 0.9


def test_one_stray_does_not_flatten_the_rest(tmp_path):
    path = table(
        tmp_path,
        2_000,
        loss_critic=lambda step: 1e4 if step == 900 else 1 - step / 2_000,
    )
    falls = [r.mean() for r in rows_of(draw_curves(path), BLUE) if len(r)]
    assert falls[0] < 50
    assert falls[-1] > 150


def test_each_figure_has_a_panel(tmp_path):
    heights = []
    for count in (0, 1, 2, 3, 9):
        figures = {f"judge/{n}": float for n in range(count)}
        path = table(tmp_path, 2, loss=lambda step: 1.0, **figures)
        heights.append(draw_curves(path).height)
        path.unlink()
    assert heights[1] == heights[2]
    assert np.diff(heights).tolist() == [170, 0, 170, 510]


@pytest.mark.parametrize(
    "figures",
    [{}, {"loss": lambda step: 0.0}, {"loss": lambda step: math.nan}],
    ids=["none", "zero", "no numbers"],
)
@pytest.mark.parametrize("log", [None, True, False])
def test_a_training_of_nothing_has_a_picture_too(tmp_path, figures, log):
    assert draw_curves(table(tmp_path, 3, **figures), log=log).width == 1000


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"loss\.csv"):
        draw_curves(tmp_path / "loss.csv")
    for text in ("", "a,b\n1,2\n", "step,nimg,loss\n1,2,many\n", "step,loss\n1,2\n"):
        path = tmp_path / "other.csv"
        path.write_text(text)
        with pytest.raises(DataRefused, match="no table of a training"):
            draw_curves(path)
