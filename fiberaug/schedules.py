"""What share of the samples is synthetic, as a function of how far the training is.

t is epoch + position / positions of the epoch. A schedule is a table of 1,024 equal
parts an epoch; within a part its value is that at the middle, so the integral of a
straight line is that of the line. Values are whole multiples of 1 / ``unit``: sums are
exact, and the same on every machine.
"""

import base64
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from hashlib import blake2b
from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError

__all__ = ["PARTS", "SHAPES", "Schedule", "as_fraction"]

PARTS = 1024
"""Equal parts of an epoch, in each of which the share is constant."""

_UNIT = 2**24
_MOST_UNIT = 10**6
_MOST_EPOCHS = 100_000
_MOST_TABULATED = 10_000  # epochs of a function: 80 MB
SHAPES = ("constant", "linear", "cosine", "step", "table")


def as_fraction(value: Any, name: str) -> Fraction:  # noqa: ANN401  # a user's value
    """Return a number as the fraction that its decimals mean: 0.3 is 3/10.

    Raises:
        UsageError: It is no finite number.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and math.isfinite(value)):
        raise UsageError(f"{name} must be a number, got {value!r:.80}")
    if isinstance(value, Fraction):
        return value.limit_denominator(_MOST_UNIT)
    return Fraction(float(value)).limit_denominator(_MOST_UNIT)


def _ratio(value: Any, name: str) -> Fraction:  # noqa: ANN401  # a user's value
    found = as_fraction(value, name)
    if not 0 <= found <= 1:
        raise UsageError(
            f"{name} must be in [0, 1], got {value!r}: it is the share of the delivered"
            " samples"
        )
    if value and not found:
        raise UsageError(
            f"{name} is below one in {2 * _MOST_UNIT:,}, got {value!r}; 0 is none"
        )
    return found


def _check_epochs(epochs: Any, most: int) -> Fraction:  # noqa: ANN401  # a user's value
    found = as_fraction(epochs, "epochs")
    if not 0 < found <= most:
        raise UsageError(f"epochs must be in (0, {most}], got {epochs!r}")
    return found


class Schedule:
    """The share of synthetic samples as a function of t = epoch + part of the epoch.

    Make one with :meth:`constant`, :meth:`linear`, :meth:`cosine` or :meth:`step`; or
    of a function of t. After ``epochs`` the last value stays.

    Args:
        ratio: A function of t (float) that returns the share, in [0, 1].
        epochs: Epochs after which it does not change any more, at most 10,000.
        off: Part of ``epochs``, at their end, in which the share is 0, in [0, 1].

    Raises:
        UsageError: A share is not in [0, 1], or an argument is out of range.

    >>> schedule = Schedule.linear(0.5, 0.0, epochs=10)
    >>> schedule(0), schedule(5), schedule(99)
    (0.5, 0.25, 0.0)
    """

    def __init__(
        self,
        ratio: Callable[[float], float],
        *,
        epochs: float | None = None,
        off: float = 0.0,
    ) -> None:
        if not callable(ratio):
            raise UsageError(
                f"Schedule takes a function of t, got {ratio!r:.80}; a number is"
                " Schedule.constant(ratio), a line Schedule.linear(a, b, epochs=n)"
            )
        if epochs is None:
            raise UsageError(
                "a schedule of a function is a table of its first epochs: say how many,"
                " Schedule(function, epochs=n); after them the last value stays"
            )
        _check_epochs(epochs, _MOST_TABULATED)
        self._begin("table", epochs, off)
        points = (np.arange(PARTS * math.ceil(self._end)) + 0.5) / PARTS
        values = [
            float(_ratio(ratio(float(t)), f"the schedule at t = {t:g}"))
            for t in (*points, self._end)
        ]
        self._values = np.asarray(values, np.float64)
        digest = blake2b(self._values.tobytes(), digest_size=8).hexdigest()
        self._name({"values": digest})

    def _begin(self, shape: str, epochs: float | None, off: float) -> None:
        if epochs is not None:
            _check_epochs(epochs, _MOST_EPOCHS)
        if not 0 <= as_fraction(off, "off") <= 1:
            raise UsageError(f"off must be in [0, 1], a part of epochs, got {off!r}")
        if off and epochs is None:
            raise UsageError(f"off={off!r} is a part of the whole: give epochs=, too")
        self.shape, self.off = shape, float(off)
        self.epochs = None if epochs is None else float(epochs)
        self._end = self.epochs or 0.0
        self._stop = math.inf if not off else self._end * (1 - off)
        self._starts, self._values = np.zeros(0), np.zeros(0)
        self.unit = _UNIT

    def _name(self, arguments: Mapping[str, Any]) -> None:
        self._said = {**arguments}
        if self.epochs is not None:
            self._said["epochs"] = self.epochs
        if self.off:
            self._said["off"] = self.off

    @classmethod
    def _of(
        cls,
        shape: str,
        arguments: Mapping[str, Any],
        shares: Sequence[Fraction],
        *,
        starts: Sequence[float] = (),
        epochs: float | None = None,
        off: float = 0.0,
    ) -> Self:
        made = cls.__new__(cls)
        made._begin(shape, epochs, off)  # noqa: SLF001  # another way to make one
        made._starts = np.asarray(starts, np.float64)  # noqa: SLF001
        made._values = np.asarray([float(share) for share in shares])  # noqa: SLF001
        if starts:
            unit = math.lcm(*(share.denominator for share in shares))
            made.unit = unit if unit <= _MOST_UNIT else _UNIT
            made._end = max(made._end, float(starts[-1]))  # noqa: SLF001
        made._name(arguments)  # noqa: SLF001
        return made

    @classmethod
    def constant(
        cls, ratio: float, *, epochs: float | None = None, off: float = 0.0
    ) -> Self:
        """Return the same share all the time, but for ``off``."""
        share = _ratio(ratio, "ratio")
        return cls._of(
            "constant",
            {"ratio": float(ratio)},
            [share],
            starts=[0.0],
            epochs=epochs,
            off=off,
        )

    @classmethod
    def linear(
        cls, start: float, end: float, *, epochs: float, off: float = 0.0
    ) -> Self:
        """Return a share that goes from ``start`` to ``end`` in a straight line."""
        shares = [_ratio(start, "start"), _ratio(end, "end")]
        said = {"start": float(start), "end": float(end)}
        return cls._of("linear", said, shares, epochs=epochs, off=off)

    @classmethod
    def cosine(
        cls, start: float, end: float, *, epochs: float, off: float = 0.0
    ) -> Self:
        """Return a share that goes from ``start`` to ``end`` on half a cosine."""
        shares = [_ratio(start, "start"), _ratio(end, "end")]
        said = {"start": float(start), "end": float(end)}
        return cls._of("cosine", said, shares, epochs=epochs, off=off)

    @classmethod
    def step(
        cls,
        steps: Any,  # noqa: ANN401  # a mapping
        *,
        epochs: float | None = None,
        off: float = 0.0,
    ) -> Self:
        """Return shares that begin at times: ``{0: 0.5, 30: 0.25, 60: 0}``.

        Before the first time the share is 0.

        Args:
            steps: Shares by the t, >= 0, at which they begin.
            epochs: See the class.
            off: See the class.
        """
        if not isinstance(steps, Mapping) or not steps:
            raise UsageError(
                f"steps are shares by the t at which they begin, got {steps!r:.80}"
            )
        times = {float(as_fraction(t, "a step's time")): r for t, r in steps.items()}
        if min(times) < 0 or max(times) > _MOST_EPOCHS:
            raise UsageError(f"steps begin in [0, {_MOST_EPOCHS}], got {sorted(times)}")
        starts = sorted(times)
        shares = [_ratio(times[t], f"the share from t = {t:g} on") for t in starts]
        said = {"steps": {str(t).removesuffix(".0"): times[t] for t in starts}}
        if starts[0] > 0:
            starts, shares = [0.0, *starts], [Fraction(0), *shares]
        return cls._of("step", said, shares, starts=starts, epochs=epochs, off=off)

    @classmethod
    def of(cls, value: Any) -> Self:  # noqa: ANN401  # a user's value
        """Return a schedule of a number, a schedule, or a section of a recipe.

        A section is ``{"linear": {"start": 0.5, "end": 0, "epochs": 10}}``.

        Raises:
            UsageError: It is none of these.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, Real) and not isinstance(value, bool):
            return cls.constant(float(value))
        if isinstance(value, Mapping) and len(value) == 1:
            ((name, arguments),) = value.items()
            if name in SHAPES and isinstance(arguments, Mapping):
                return cls._of_section(name, arguments)
        raise UsageError(
            "a schedule is a number, a fiberaug.Schedule, or one of"
            f" {SHAPES} with its arguments, got {value!r:.80}; a function of t is"
            " Schedule(function, epochs=n)"
        )

    @classmethod
    def _of_section(cls, name: str, arguments: Mapping[str, Any]) -> Self:
        make: Any = cls._of_table if name == "table" else getattr(cls, name)
        try:
            if name == "step" and isinstance(arguments.get("steps"), Mapping):
                steps = {float(t): share for t, share in arguments["steps"].items()}
                arguments = {**arguments, "steps": steps}
            made: Self = make(**arguments)
        except UsageError:
            raise
        except (TypeError, ValueError, OverflowError, zlib.error) as error:
            raise UsageError(f"schedule {name!r}: {error}") from error
        return made

    def __call__(self, t: float) -> float:
        """Return the share at t, before it is put into the table."""
        if t >= self._stop:
            return 0.0
        return float(self._at(np.asarray([t], np.float64))[0])

    def _at(self, t: NDArray[np.float64]) -> NDArray[Any]:
        values: NDArray[Any] = self._values
        if self.shape == "table":
            last = len(values) - 1
            place = np.where(t < self._end, np.minimum(t * PARTS, last - 1), last)
            place = place.astype(np.int64)
        elif len(self._starts):
            place = np.searchsorted(self._starts, t, side="right") - 1
        else:
            done = np.minimum(t / self._end, 1.0)
            if self.shape == "cosine":
                done = 0.5 - 0.5 * np.cos(done * math.pi)
            return np.asarray(values[0] + (values[1] - values[0]) * done)
        return np.asarray(values[place])

    @property
    def steady(self) -> int:
        """The first epoch from which on no epoch differs from the next."""
        return math.ceil(self._end)

    def parts(self, epoch: int) -> NDArray[np.int64]:
        """Return the shares of an epoch's parts, int64 [1024], in 1 / ``unit``."""
        t = epoch + (np.arange(PARTS) + 0.5) / PARTS
        values = np.where(t >= self._stop, 0.0, self._at(t))
        whole: NDArray[np.int64] = np.rint(np.clip(values, 0.0, 1.0) * self.unit)
        return whole.astype(np.int64)

    def most(self) -> float:
        """Return the largest share that it ever has."""
        epochs = range(self.steady + 1)
        return max(int(self.parts(epoch).max()) for epoch in epochs) / self.unit

    def describe(self) -> dict[str, Any]:
        """Return what names it, as plain values."""
        return {self.shape: dict(self._said)}

    def to_dict(self) -> dict[str, Any]:
        """Return a recipe's section that means the same."""
        section = dict(self._said)
        if self.shape == "table":
            data = zlib.compress(self._values.astype("<f8").tobytes())
            section["values"] = base64.b64encode(data).decode()
        return {self.shape: section}

    @classmethod
    def _of_table(cls, values: str, epochs: float, off: float = 0.0) -> Self:
        """Return a schedule of what :meth:`to_dict` says of a function."""
        last = PARTS * math.ceil(_check_epochs(epochs, _MOST_TABULATED))
        # One byte more than there may be: a longer table is found, a bomb is not blown.
        data = zlib.decompressobj().decompress(base64.b64decode(values), 8 * last + 9)
        table = np.frombuffer(data, "<f8") if len(data) == 8 * last + 8 else ()
        if not len(table):
            raise UsageError(
                f"the schedule's table is not the {last + 1} values of {epochs} epochs"
            )
        return cls(
            lambda t: float(table[min(int(t * PARTS), last)]), epochs=epochs, off=off
        )

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same function of t."""
        if not isinstance(other, Schedule):
            return NotImplemented
        return self.describe() == other.describe()

    def __hash__(self) -> int:
        """Return a hash of what names it."""
        return hash(repr(self.describe()))

    def __repr__(self) -> str:
        """Return how it is made."""
        said = ", ".join(f"{name}={value!r}" for name, value in self._said.items())
        return f"Schedule.{self.shape}({said})"
