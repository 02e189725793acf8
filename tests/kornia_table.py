"""Every 2D class of Kornia as a batch operation: the table of the manual.

    python tests/kornia_table.py docs/kornia.md

writes the page anew. A class that the library adds needs a line in the package's
``layouts.py`` and, where it has arguments without defaults, one in ``kornia_cases.py``.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from kornia_cases import CASES, RESIZES, build, images

from fiberaug.gpu.kornia_ops import KorniaOperation
from fiberaug.gpu.layouts import LAYOUTS, REFUSED
from fiberaug.gpu.operation import Operation, Params, Part
from fiberaug.gpu.replayable import why_not
from fiberaug.params import encode

__all__ = ["Verdict", "draw_units", "page", "parts_of", "run_parts", "verdict"]

ROWS = 32
ALONE = 12  # of them run by themselves too
UNITS = (4, 16)
CHANCES = (1.0, 0.5)


class Verdict(NamedTuple):
    """What is true of a class, found by running it."""

    recorded: tuple[str, ...]
    """Parameters in the record of a row."""

    exact_record: bool
    """Each row's record is that of the row alone, and JSON."""

    joined: bool
    """Rows of several units run as one batch."""

    batch: float
    """Largest difference between one batch, its parts and its units."""

    alone: float
    """Largest difference between a row alone and in its batch."""

    rebuilt: str | None
    """Why it cannot be built again from its description."""


def draw_units(
    operation: Operation, b0: int, rows: int, shape: Sequence[int]
) -> list[Params]:
    """Return the parameters of as many units of b0 rows as ``rows`` rows are in."""
    drawn = []
    for unit in range(-(-rows // b0)):
        torch.manual_seed(1000 + unit)
        drawn.append(operation.draw((b0, *shape)))
    return drawn


def parts_of(
    operation: Operation, units: Sequence[Params], b0: int, rows: Iterable[int]
) -> list[Part]:
    """Return the parameters of rows, taken out of their units."""
    taken: dict[int, list[int]] = {}
    for row in rows:
        taken.setdefault(row // b0, []).append(row % b0)
    return [
        Part(len(some), operation.take(units[unit], some))
        for unit, some in taken.items()
    ]


def run_parts(
    operation: Operation, image: torch.Tensor, parts: Sequence[Part]
) -> torch.Tensor:
    """Return the images of parts, joined as far as they can be."""
    done, start = [], 0
    for rows, params in operation.join(parts):
        done.append(operation.run(image[start : start + rows], params))
        start += rows
    return torch.cat(done)


def verdict(name: str, arguments: Mapping[str, Any]) -> Verdict:
    """Return what is found by running a class, with p of 1 and 0.5, b0 of 4 and 16."""
    found = Verdict(
        recorded=(), exact_record=True, joined=True, batch=0.0, alone=0.0, rebuilt=None
    )
    for p in CHANCES[: 1 if name in RESIZES else 2]:
        operation = KorniaOperation(build(name, dict(arguments), p))
        found = found._replace(
            joined=operation.joined, rebuilt=found.rebuilt or why_not(operation)
        )
        for b0 in UNITS:
            found = _worse(found, operation, b0)
    return found


def _worse(found: Verdict, operation: KorniaOperation, b0: int) -> Verdict:
    image = images(ROWS)
    units = draw_units(operation, b0, ROWS, image.shape[1:])

    def run(rows: range) -> torch.Tensor:
        parts = parts_of(operation, units, b0, rows)
        return run_parts(operation, image[rows.start : rows.stop], parts)

    whole = run(range(ROWS))
    again = torch.cat([run(range(13)), run(range(13, ROWS))])
    by_unit = torch.cat([run(range(u, u + b0)) for u in range(0, ROWS, b0)])
    batch = max(_apart(whole, again), _apart(whole, by_unit))
    alone = max(_apart(whole[r : r + 1], run(range(r, r + 1))) for r in range(ALONE))
    records = [_record(operation, units, b0, row) for row in range(ROWS)]
    return found._replace(
        recorded=tuple(sorted({n for own, _ in records for n in own})),
        exact_record=found.exact_record and all(own == one for own, one in records),
        batch=max(found.batch, batch),
        alone=max(found.alone, alone),
    )


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def _record(
    operation: KorniaOperation, units: Sequence[Params], b0: int, row: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the record of a row out of its unit, and out of itself."""
    unit = units[row // b0]
    alone = operation.take(unit, [row % b0])
    records = [operation.row(unit, row % b0), operation.row(alone, 0)]
    own, one = [json.loads(json.dumps(encode(record))) for record in records]
    return own, one


def page() -> str:
    """Return the page: what is true of every class."""
    rows = [_row(name) for name in sorted(LAYOUTS)]
    refused = [f"| {name} | {why} |" for name, why in sorted(REFUSED.items())]
    return _PAGE.format(
        count=len(LAYOUTS),
        rows="\n".join(rows),
        refused="\n".join(refused),
        heavy="\n".join(f"- {name}: {size} KB" for name, size in _heavy()),
    )


def _heavy() -> list[tuple[str, int]]:
    """Return (class, KB a row) of those that draw for each pixel, of 224 x 224 px."""
    found = []
    for name in sorted(LAYOUTS):
        operation = KorniaOperation(build(name, CASES[name][0]))
        drawn = operation.draw((2, 3, 224, 224))
        size = sum(value[:1].nbytes for value in drawn.values() if value.dim() > 1)
        if size > 100_000:
            found.append((name, round(size / 1000)))
    return found


def _row(name: str) -> str:
    found = verdict(name, CASES[name][0])
    layout = LAYOUTS[name]
    points = "moved" if layout.moves else "stay"
    if layout.loses_points:
        points = f"refused: {layout.loses_points}"
    masks = "moved" if layout.moves else "erased with it" if layout.erases else "stay"
    cells = [
        name,
        ", ".join(found.recorded) or "that it was applied",
        "one batch" if found.joined else "unit by unit",
        _exactly(found.batch),
        _exactly(found.alone) if found.exact_record else "another record",
        found.rebuilt or "yes",
        masks,
        points,
    ]
    return "| " + " | ".join(cells) + " |"


def _exactly(difference: float) -> str:
    return "exact" if difference == 0 else "within 1e-5" if difference < 1e-5 else "no"


_PAGE = """\
# Every augmentation of Kornia

Found by running them, not written by hand: `python tests/kornia_table.py
docs/kornia.md` runs each of the {count} 2D augmentations of Kornia 0.9 that work on
one image at a time, with p of 1 and of 0.5 and units of 4 and of 16 rows, on float32
batches on the CPU, and writes this page anew; a test compares.

- **recorded**: parameters in the record of a row.
  Those of more than 64 numbers stand there as shape and range; the seed brings them
  back.
- **run as**: whether rows of several units run as one batch, or each unit by itself,
  because the library draws one value for the whole unit: the order of the steps of
  ColorJiggle and ColorJitter, unless `order=` fixes it; the size of the kernel of
  RandomMotionBlur, unless it is one number; what RandomErasing, RandomGaussianBlur and
  RandomGaussianNoise draw with `same_on_batch=True`.
- **batch**: pixels are the same as one batch, as two cut anywhere, and unit by unit.
- **row**: the pixels and the record of a row alone are those of the row in its batch:
  what a replay of one sample needs.
- **rebuilt**: its description, as recipes and run folders hold it, makes the same
  augmentation: the same draws, the same pixels.
- **masks**, **boxes and points**: whether they go along.

| class | recorded | run as | batch | row | rebuilt | masks | boxes and points |
|---|---|---|---|---|---|---|---|
{rows}

A class that changes the size of images takes no p below 1: rows of a batch would have
two sizes.
`same_on_batch=True` gives the rows of a *unit* the same parameters, not those of a
batch: what a row gets does not depend on the batch.
Masks are read to the nearest pixel, and hold 0 where the image is padded or erased.

`AugmentationSequential`, `ImageSequential`, `nn.Sequential` and lists are taken apart.
With `random_apply` a container is one operation: which children run, and in what order,
holds for the whole unit, and units run one by one; recipes write `ImageSequential`.

## What draws for each pixel

What is drawn travels with the batch from the worker to the device.
For these classes that is as much as an image; of 224 x 224 px, for each row:

{heavy}

## What batches cannot be given to

| class | why |
|---|---|
{refused}
| 3D classes | they take volumes |
| your own `nn.Module` | how it lays its parameters cannot be guessed: write it as a \
subclass of `fiberaug.gpu.operation.Operation`, with `draw` and `run` |
"""


if __name__ == "__main__":
    torch.set_num_threads(1)
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
