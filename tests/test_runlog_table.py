"""A record log as columns: what the records say, in a form that data frames take."""

import json
from dataclasses import fields

import albumentations as A
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fiberaug
from fiberaug.record import AppliedTransform, Record
from fiberaug.runlog_table import Line, losses, operations, samples

PIPELINE = A.Compose(
    [
        A.RandomResizedCrop((24, 24)),
        A.OneOf([A.HorizontalFlip(p=1), A.RandomGamma(p=1)], p=0.6),
        A.Normalize(),
    ]
)
KINDS = ("samples", "operations", "losses")


def record(position=0, view=0, epoch=0, steps=(), **values):
    """A record whose uid follows from its position."""
    applied = [AppliedTransform(f"{i}", *step) for i, step in enumerate(steps)]
    return Record(**{
        "key": f"k{position}", "url": "s.tar", "index": position, "visit": 0,
        "uid": f"{position:016x}", "position": position, "view": view, "epoch": epoch,
        "seed": 0, "origin": "real", "decode": {"shape": [8, 9, 3]},
        "applied_transforms": tuple(applied), "batch": {"unit": 0, "row": position},
        "recipe": "r", "environment": "e", "replayable": True, **values,
    })  # fmt: skip


def loss_of(position, value, epoch=0):
    uid = f"{position:016x}"
    return {"uid": uid, "epoch": epoch, "position": position, "loss": value}


def lines(*contents, rank=0, started_s=0.0):
    return [Line(rank, started_s, content) for content in contents]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """The log of two epochs, the second with losses."""
    from sets import samples as content

    folder = tmp_path_factory.mktemp("table")
    fiberaug.convert(content(20), folder / "set", progress=False)
    dataset = fiberaug.StreamingDataset(folder / "set", transform=PIPELINE, seed=2**63)
    with fiberaug.DataLoader(dataset, 8, log=folder / "run") as loader:
        list(loader)
        for batch in loader:
            loader.log.attach(batch, batch["image"].amax((1, 2, 3)))
    return fiberaug.RecordLog(folder / "run")


def test_the_samples_are_the_records_row_by_row(log):
    table, records = log.table(), list(log)
    plain = {f.name for f in fields(Record)} - {
        "v", "decode", "applied_transforms", "batch",
    }  # fmt: skip

    for name in plain:
        assert list(table[name]) == [getattr(r, name) for r in records]
    for name in ("unit", "row"):
        assert list(table[name]) == [r.batch[name] for r in records]
    shapes = [r.decode["shape"][:2] for r in records]
    assert list(zip(table["height"], table["width"], strict=True)) == [
        tuple(shape) for shape in shapes
    ]
    steps = [[t.name for t in r.applied_transforms] for r in records]
    assert table["operations"] == [" > ".join(names) for names in steps]
    assert list(table["n_operations"]) == [len(names) for names in steps]
    assert set(table) == plain | {
        "unit", "row", "height", "width", "operations", "n_operations", "loss",
    }  # fmt: skip


def test_the_operations_are_those_of_the_records_in_order(log):
    table = log.table("operations")
    expected = [
        (r.key, r.uid, r.epoch, r.position, r.view, order, t.path, t.name,
         json.dumps(t.params))
        for r in log for order, t in enumerate(r.applied_transforms)
    ]  # fmt: skip

    assert list(zip(*table.values(), strict=True)) == expected
    assert list(table) == [
        "key", "uid", "epoch", "position", "view", "order", "path", "name", "params",
    ]  # fmt: skip


def test_one_operation_has_a_column_for_each_parameter(log):
    table = log.table("operations", name="RandomResizedCrop")
    steps = [t for r in log for t in r.applied_transforms]
    crops = [t.params for t in steps if t.name == "RandomResizedCrop"]

    assert set(table["name"]) == {"RandomResizedCrop"}
    assert table["params.crop_coords"] == [crop["crop_coords"] for crop in crops]
    assert {n for n in table if "." in n} == {f"params.{n}" for n in crops[0]}
    assert len(log.table("operations", name="Other")["key"]) == 0


def test_all_operations_can_have_their_parameters_as_columns(log):
    """None where an operation has no such parameter."""
    table = log.table("operations", params=True)
    for name in ("params.gamma", "params.mean"):
        for text, value in zip(table["params"], table[name], strict=True):
            assert json.loads(text).get(name.removeprefix("params.")) == value
    assert {None} < set(table["params.gamma"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last", [False, True])
def test_columns_have_one_length_and_one_type(log, kind, last):
    options = {"params": True} if kind == "operations" else {}
    table = log.table(kind, last=last, **options)

    assert len({len(column) for column in table.values()}) == 1
    for name, column in table.items():
        if isinstance(column, np.ndarray):
            assert column.dtype == (np.uint64 if name == "seed" else np.int64)
        else:
            assert len({type(value) for value in column} - {type(None)}) <= 1


def test_a_table_of_no_log_has_its_columns_and_no_row(tmp_path):
    log = fiberaug.RecordLog(tmp_path / "none")
    for kind in KINDS:
        for last in (False, True):
            table = log.table(kind, last=last)
            assert table
            assert {len(column) for column in table.values()} == {0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "rows"}, "kind must be one of .*'rows'"),
        ({"name": "Crop"}, "go with 'operations', not 'samples'"),
        ({"kind": "losses", "params": True}, "go with 'operations', not 'losses'"),
    ],
)
def test_a_table_that_cannot_be_is_refused(tmp_path, arguments, words):
    with pytest.raises(fiberaug.UsageError, match=words):
        fiberaug.RecordLog(tmp_path).table(**arguments)


def test_a_sample_that_was_not_decoded_has_no_size():
    table = samples(lines(record(decode={"shape": []})), last=False)

    assert (table["height"], table["width"]) == ([None], [None])


# ---- losses -------------------------------------------------------------------------


def test_losses_stand_at_the_rows_that_they_were_attached_to(log):
    table = log.table()
    losses = log.table("losses")

    assert table["loss"][:20] == [None] * 20
    assert table["loss"][20:] == losses["loss"]
    assert list(losses["position"]) == list(range(20))
    assert set(losses["epoch"]) == {1}


def test_each_delivery_has_a_loss_of_its_own_and_all_views_share_it():
    """A position that comes again after a resume; a loss attached twice counts last."""
    found = samples(
        lines(
            record(0), record(1), loss_of(0, 0.5), loss_of(1, "nan"), loss_of(1, 0.25),
            record(0), record(1), loss_of(1, 4), record(0, epoch=1),
            record(2, view=0), record(2, view=1), loss_of(2, 8.0), loss_of(9, 1.0),
        )
        + lines(loss_of(0, 7.0), rank=1),
        last=False,
    )["loss"]  # fmt: skip

    assert found == [0.5, 0.25, None, 4.0, None, 8.0, 8.0]


# ---- the last delivery --------------------------------------------------------------


def test_the_last_delivery_is_the_later_line_of_the_pass_that_began_last():
    """Whatever the rank: a run can be resumed with fewer of them."""
    stream = [
        *lines(record(0, key="a"), record(2, key="b"), started_s=1.0),
        *lines(
            record(0, key="c"), record(1, key="d"), record(0, key="e"), started_s=3.0
        ),
        *lines(record(1, key="f"), record(3, key="g"), rank=1, started_s=1.5),
    ]

    assert samples(stream, last=True)["key"] == ["b", "d", "e", "g"]


def test_views_and_epochs_are_deliveries_of_their_own():
    stream = lines(*(record(0, view, epoch) for view in (0, 1) for epoch in (0, 1)))

    assert len(samples(stream, last=True)["key"]) == 4


def test_operations_and_losses_of_the_last_delivery_are_kept():
    """Also where the last delivery had fewer operations, or none."""
    stream = lines(
        record(0, steps=[("A", {}), ("B", {})]),
        record(1, steps=[("A", {})]),
        loss_of(0, 1.0), loss_of(1, 2.0),
        record(0), record(1, steps=[("C", {"p": 1})]),
        loss_of(1, 3.0),
    )  # fmt: skip

    found = operations(stream, last=True, name=None, params=True)
    assert (found["name"], found["params.p"]) == (["C"], [1])
    assert losses(stream, last=True)["loss"] == [1.0, 3.0]
    assert samples(stream, last=True)["loss"] == [None, 3.0]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(*(st.integers(0, 2) for _ in range(5))).map(
            lambda v: (v[0], float(v[1]), *v[2:])
        ),
        max_size=12,
    )
)
def test_of_each_place_the_last_is_kept_and_the_order_stays(rows):
    """Against a plain search."""
    stream = [
        Line(rank, started_s, record(position, view, epoch, key=f"{n}"))
        for n, (rank, started_s, epoch, position, view) in enumerate(rows)
    ]
    latest = {}
    for n, (_, started_s, *place) in enumerate(rows):
        latest[tuple(place)] = max(latest.get(tuple(place), (-1, 0)), (started_s, n))

    assert samples(stream, last=True)["key"] == [
        f"{n}" for n in sorted(n for _, n in latest.values())
    ]


def test_a_run_that_was_resumed_with_another_number_of_ranks_has_each_position_once(
    write_set, tmp_path
):
    shards = write_set(24)

    def play(ranks, state=None, batches=None):
        for rank in range(ranks):
            dataset = fiberaug.StreamingDataset(shards, rank=rank, world_size=ranks)
            with fiberaug.DataLoader(
                dataset, 4, drop_last=True, log=tmp_path / "run"
            ) as loader:
                if state is not None:
                    loader.load_state_dict(state)
                for n, batch in zip(range(batches or 9), loader, strict=False):
                    loader.log.attach(batch, [float(ranks)] * 4)
                    if n == 0:
                        saved = loader.state_dict()
        return saved

    saved = play(3, batches=2)  # 24 positions, of which the state has seen 12
    play(1, saved)
    log = fiberaug.RecordLog(tmp_path / "run")
    table = log.table(last=True)
    loss = dict(zip(table["position"].tolist(), table["loss"], strict=True))

    assert len(list(log)) == 36
    assert loss == {p: 3.0 if p < 12 else 1.0 for p in range(24)}
    assert sorted(table["position"]) == list(range(24))


# ---- parameters ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "column"),
    [
        ([1, 2], [1, 2]),
        ([1, 0.5], [1.0, 0.5]),
        (["a", "b"], ["a", "b"]),
        ([True, False], [True, False]),
        ([[1, 2], [3]], [[1, 2], [3]]),
        ([[1, 2], [0.5]], [[1.0, 2.0], [0.5]]),
        ([2**63, 1], [f"{2**63}", "1"]),
        ([[2**64], [1]], [f"[{2**64}]", "[1]"]),
        ([True, 1], ["true", "1"]),
        ([0.5, "nan"], ["0.5", '"nan"']),
        ([[1], ["a"]], ["[1]", '["a"]']),
        ([{"a": 1}, [1]], ['{"a": 1}', "[1]"]),
        ([[[1]], [[2]]], ["[[1]]", "[[2]]"]),
    ],
)
def test_a_parameter_s_column_has_one_type_or_is_json_text(values, column):
    steps = [("A", {"x": value}) for value in values]
    table = operations(
        lines(record(steps=[*steps, ("B", {})])), last=False, name=None, params=True
    )

    assert repr(table["params.x"]) == repr([*column, None])
