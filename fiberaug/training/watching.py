"""The watchers that a training has unless it is said otherwise."""

from collections.abc import Sequence

from fiberaug.training.board import Board
from fiberaug.training.console import Console
from fiberaug.training.contracts import Watcher
from fiberaug.training.diary import Diary
from fiberaug.training.grids import Grids
from fiberaug.training.guards import Guard

__all__ = ["standard_watchers"]


def standard_watchers(
    *,
    console: bool = True,
    board: bool = False,
    guard: bool = True,
    look_every_images: int | None = None,
    columns: int | None = None,
    also: Sequence[Watcher] = (),
) -> list[Watcher]:
    """Return watchers in the order in which they look at a step.

    First who guards, then your own, then who draws and writes: figures that your own
    add are in the same row of the table, and a step that is taken back is not in it.

    Args:
        console: Show how far it is.
        board: Write for TensorBoard.
        guard: End a training that learns nothing more.
        look_every_images: Images from one look at samples to the next, of who guards
            and who draws. None: a fortieth of all, but at least 2,000.
        columns: See :class:`fiberaug.training.grids.Grids`.
        also: Your own.

    Raises:
        UsageError: ``board`` is asked for and TensorBoard is not installed, or
            ``look_every_images`` is below 1.
    """
    found: list[Watcher] = [
        *([Guard(every=look_every_images)] if guard else []),
        *also,
        Grids(every=look_every_images, columns=columns),
    ]
    if console:
        found.append(Console())
    if board:
        found.append(Board())
    return [*found, Diary()]
