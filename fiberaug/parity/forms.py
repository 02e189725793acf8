"""Shapes, dtypes, value ranges and speed of both loaders' batches."""

import gc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from fiberaug.checkup.findings import Finding, note, ok
from fiberaug.loader import DataLoader
from fiberaug.parity.rows import Row, as_array, batch_rows
from fiberaug.parity.theirs import Theirs
from fiberaug.parity.timing import Speed, side_by_side, turn

__all__ = ["Form", "check_forms", "check_speed"]

_LOOKED_AT = 2  # batches


@dataclass(slots=True)
class Form:
    """What images of a loader look like."""

    sizes: set[tuple[int, ...]] = field(default_factory=set)
    """[H, W, C] of images."""

    dtypes: set[str] = field(default_factory=set)
    low: float = float("inf")
    high: float = float("-inf")
    rows: int = 0
    """Rows of the largest batch."""

    layout: str = ""
    """Of what the batch holds, such as ``[64, 3, 224, 224]``."""

    @classmethod
    def of(cls, batches: Iterable[Any]) -> "Form":
        """Return the form of the first batches."""
        form = cls()
        for batch in islice(iter(batches), _LOOKED_AT):
            rows = batch_rows(batch)
            form.rows = max(form.rows, len(rows))
            form.layout = form.layout or _layout(batch)
            for row in rows:
                form._add(row)
        return form

    def _add(self, row: Row) -> None:
        if row.image is None:
            return
        self.sizes.add(row.image.shape)
        self.dtypes.add(str(row.image.dtype))
        self.low = min(self.low, float(row.image.min()))
        self.high = max(self.high, float(row.image.max()))

    def __str__(self) -> str:
        """Return the form in a few words."""
        size = "x".join(map(str, next(iter(self.sizes)))) if len(self.sizes) == 1 else (
            f"{len(self.sizes)} sizes"
        )  # fmt: skip
        place = f" in {self.layout}" if self.layout else ""
        kinds = "/".join(sorted(self.dtypes)) or "no image"
        return f"{kinds} {size}{place}, {self.low:.3g} to {self.high:.3g}"


def _layout(batch: Any) -> str:  # noqa: ANN401  # of any loader
    parts = batch.values() if hasattr(batch, "values") else batch
    if isinstance(parts, list | tuple) or hasattr(batch, "values"):
        for part in parts:
            if getattr(part, "ndim", 0) == 4:
                return str(list(as_array(part).shape))
    return ""


def check_forms(theirs: Theirs, loader: DataLoader) -> Iterator[Finding]:
    """Yield shapes, dtypes and ranges of both, as they come for training."""
    mine = Form.of(loader)
    found = theirs(augment=True)
    form = Form.of(found.batches)
    del found
    gc.collect()
    text = f"theirs {form}; ours {mine}"
    figures = {
        name: {
            "sizes": sorted(one.sizes)[:9], "dtypes": sorted(one.dtypes),
            "low": one.low, "high": one.high, "layout": one.layout, "rows": one.rows,
        }
        for name, one in (("theirs", form), ("ours", mine))
    }  # fmt: skip
    same = form.sizes == mine.sizes or min(len(form.sizes), len(mine.sizes)) > 1
    if same and form.dtypes == mine.dtypes:
        yield ok("form", text, figures)
    else:
        yield note(
            "form", text, "give --recipe the loader's pipeline: the same work", figures,
        )  # fmt: skip


def check_speed(
    theirs: Theirs, loader: DataLoader, *, batches: int, turns: int, same_work: bool
) -> Iterator[Finding]:
    """Yield the throughput of both.

    Args:
        theirs: The user's loader.
        loader: Ours.
        batches: Batches of a turn.
        turns: Turns of each, alternating.
        same_work: Whether ours runs a recipe.
    """

    def other() -> Speed:
        return turn(theirs(augment=True).batches, _count, batches)

    def mine() -> Speed:
        speed = turn(loader, _count, batches)
        loader.close()
        return speed

    speeds = side_by_side({"theirs": other, "ours": mine}, turns)
    left, right = speeds["theirs"], speeds["ours"]
    if not left.images or not right.images:
        text = "too few batches to time; the first of a pass does not count"
        yield note("speed", text, "use smaller batches")
        return
    text = (
        f"images/s theirs {left.wall:,.0f}, ours {right.wall:,.0f}"
        f" ({right.wall / left.wall:.2f}x); for each CPU-second {left.per_cpu:,.0f},"
        f" {right.per_cpu:,.0f} ({right.per_cpu / left.per_cpu:.2f}x); medians of"
        f" {turns} alternating turns, {loader.num_workers} workers"
    )
    figures = {"theirs": left._asdict(), "ours": right._asdict()}
    if same_work:
        yield ok("speed", text, figures)
    else:
        text += "; ours only decodes, so the work is not the same"
        yield note("speed", text, "give --recipe the loader's pipeline", figures)


def _count(batch: Any) -> int:  # noqa: ANN401  # of any loader
    parts = batch.values() if hasattr(batch, "values") else batch
    if not hasattr(batch, "values") and not isinstance(batch, list | tuple):
        return 1
    for part in parts:
        if getattr(part, "ndim", 0) == 4 or isinstance(part, list):
            return len(part)
    return 1
