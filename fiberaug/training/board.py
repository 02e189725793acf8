"""The figures and pictures of a training for TensorBoard."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from fiberaug.errors import UsageError
from fiberaug.training.contracts import Verdict, View
from fiberaug.training.grids import picture_of
from fiberaug.training.pace import Pace

__all__ = ["Board"]


class Board:
    """Writes ``board/``, which ``tensorboard --logdir`` shows; over images shown.

    Pictures are those that :class:`fiberaug.training.grids.Grids` draws, where it comes
    before this. What was written after a state that the training goes on from is
    hidden.

    Args:
        every: Images from one point of a curve to the next. None: 2,000 points.

    Raises:
        UsageError: TensorBoard is not installed, or ``every`` is below 1.
    """

    def __init__(self, *, every: int | None = None) -> None:
        self._pace = Pace(every, times=2_000)
        self._make = _writer()
        self._to: Any = None

    def begin(self, view: View) -> None:
        """Do nothing: the first step opens the file."""

    def step(self, view: View) -> Verdict | None:
        """Write the figures, where they are due, and the picture of this step."""
        if self._to is None:
            folder = str(view.out / "board")
            self._to = self._make(folder, purge_step=view.nimg)
        if self._pace.due(view):
            for name, value in view.figures.items():
                self._to.add_scalar(name, value, view.nimg)
            if view.images_per_s:
                self._to.add_scalar("images_per_s", view.images_per_s, view.nimg)
        picture = picture_of(view.out, view.nimg)
        if picture.exists():
            with Image.open(picture) as image:
                pixels = np.asarray(image.convert("RGB"))
            self._to.add_image("samples", pixels, view.nimg, dataformats="HWC")
        return None

    def end(self, view: View) -> None:
        """Write what waits, and close the file."""
        del view
        self._close()

    def state_dict(self) -> dict[str, Any]:
        """Return nothing; all that was written is on disk then."""
        if self._to is not None:
            self._to.flush()
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Hide what was written after the state, from the next step on."""
        del state
        self._close()

    def _close(self) -> None:
        if self._to is not None:
            self._to.close()
            self._to = None


def _writer() -> Any:  # noqa: ANN401  # torch's, which is there with TensorBoard alone
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415  # slow
    except ImportError as error:
        raise UsageError(
            f"a board is written by TensorBoard, which is not installed ({error}):"
            " pip install fiberaug[board]"
        ) from error
    return SummaryWriter
