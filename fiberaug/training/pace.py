"""When something is due that is not done at every step.

It is counted in images shown, never in seconds: what a training that was broken off
and gone on with does, and when, is what an unbroken one does.
"""

from fiberaug.errors import UsageError
from fiberaug.training.contracts import View

__all__ = ["Pace"]


class Pace:
    """Says at which steps something is due: each time so many images were shown.

    Args:
        every: Images from one time to the next, >= 1. None: ``total / times``.
        times: How often in the whole training, >= 1, where ``every`` is None.
        least: Images that lie between two times at least, >= 1, where ``every`` is
            None: what is dear is not done at each step of a short training.

    Raises:
        UsageError: A number is below 1.
    """

    def __init__(
        self, every: int | None = None, *, times: int = 40, least: int = 1
    ) -> None:
        for name, value in (("every", every), ("times", times), ("least", least)):
            if value is not None and (type(value) is not int or value < 1):
                raise UsageError(f"{name} must be an integer >= 1, got {value!r:.80}")
        self._every, self._times, self._least = every, times, least

    def images(self, total: int) -> int:
        """Return how many images lie between two times, >= 1.

        Args:
            total: Images that the training shows in all.
        """
        return self._every or max(self._least, total // self._times)

    def due(self, view: View) -> bool:
        """Return whether it is due at the step that was made last; all are of one size.

        The last step of the training is always one; that no step was made is none.
        """
        if not view.step:
            return False
        every = self.images(view.total)
        before = view.nimg - view.nimg // view.step
        return view.nimg // every > before // every or before < view.total <= view.nimg
