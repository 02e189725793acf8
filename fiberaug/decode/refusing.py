"""Whatever a decoder raises becomes one named error."""

from types import TracebackType

from fiberaug.errors import LimitExceeded, SampleBroken

__all__ = ["Refusing"]

_LONGEST = 300  # characters of the decoder's own words


class Refusing:
    """Turns every exception of a ``with`` block into a broken sample, chained to it.

    :exc:`LimitExceeded` and :exc:`SampleBroken` pass, and what is no ``Exception``,
    such as ``KeyboardInterrupt``. The message names the type and the text of anything
    else, such as ``cv2.error``, ``struct.error`` or ``MemoryError``.

    Args:
        what: Beginning of the message, such as ``the JPEG cannot be decoded``.
    """

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let pass what has a name.

        Raises:
            SampleBroken: The block raised anything else.
        """
        if not isinstance(error, Exception) or isinstance(
            error, SampleBroken | LimitExceeded
        ):
            return
        words = " ".join(str(error).split())[:_LONGEST]
        raise SampleBroken(
            f"{self.what}: {type(error).__name__}: {words}", stage="decode"
        ) from error
