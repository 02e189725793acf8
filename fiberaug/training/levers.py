"""What makes a training need less memory, and what each lever costs."""

from dataclasses import dataclass, replace

from fiberaug.errors import UsageError

__all__ = ["Levers", "following", "next_kind"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Levers:
    """How a step is made; all give the same step but for rounding, unless said."""

    micro_batches: int = 1
    """Parts in which the rows of a step are worked through, >= 1."""

    bf16: bool = False
    """Convolutions in bfloat16, weights and losses in float32: other rounding."""

    finite_difference: bool = False
    """Penalties by a difference along a random direction, without a second backward
    pass: the same in expectation, with more noise."""

    recompute: bool = False
    """Blocks are computed again in the backward pass: a third more time. On a CPU a
    trainer then gives memory back at once, too: about twice the time."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            UsageError: ``micro_batches`` is below 1.
        """
        if type(self.micro_batches) is not int or self.micro_batches < 1:
            raise UsageError(
                f"micro_batches must be an integer >= 1, got {self.micro_batches!r}"
            )

    def more_parts(self, rows: int) -> "Levers | None":
        """Return these with about twice as many parts; None: a part is one row."""
        if self.micro_batches >= rows:
            return None
        return replace(self, micro_batches=min(rows, 2 * self.micro_batches))

    def with_those_of(self, other: "Levers") -> "Levers":
        """Return levers of which each is taken that either has."""
        return Levers(
            micro_batches=max(self.micro_batches, other.micro_batches),
            bf16=self.bf16 or other.bf16,
            finite_difference=self.finite_difference or other.finite_difference,
            recompute=self.recompute or other.recompute,
        )

    def told(self, rows: int) -> str:
        """Return them as people read them.

        Args:
            rows: Of a step, of one process.

        >>> Levers(micro_batches=4, bf16=True).told(64)
        'micro-batches: 4 of 16 rows; bf16'
        """
        said = []
        if self.micro_batches > 1:
            said.append(_told_parts(self, rows))
        said += [text for name, text in _SWITCHES.items() if getattr(self, name)]
        return "; ".join(said) or "none"

    def two_parts(self, rows: int) -> tuple["Levers", int]:
        """Return levers and rows of a step that has two parts of this one, at most.

        All parts are alike, so its worst moment is that of this step, but for the rows
        that wait; it is found in less time.

        Args:
            rows: Of a step, of one process.

        >>> Levers(micro_batches=16).two_parts(64)[1]
        8
        """
        if self.micro_batches <= 2:
            return self, rows
        part = -(-rows // min(rows, self.micro_batches))
        return replace(self, micro_batches=2), min(rows, 2 * part)


_SWITCHES = {
    "bf16": "bf16",
    "finite_difference": "penalties by finite differences",
    "recompute": "blocks computed again",
}


def _told_parts(levers: Levers, rows: int) -> str:
    parts = min(levers.micro_batches, rows)
    return f"micro-batches: {parts} of {-(-rows // parts)} rows"


def next_kind(
    levers: Levers, *, may_bf16: bool = True, penalised: bool = True
) -> tuple[Levers, str] | None:
    """Return the levers with the next switch that is not taken yet, and its name.

    Finite differences and recomputation come together: without the first the second
    saves nothing, as an exact penalty keeps what was computed again.

    Args:
        levers: Those taken.
        may_bf16: Whether bfloat16 may be one.
        penalised: Whether the loss has penalties; without, blocks are computed again
            and nothing else changes.

    Returns:
        None where all are taken.
    """
    if not penalised and not levers.recompute:
        return replace(levers, recompute=True), "blocks computed again (slower)"
    if may_bf16 and not levers.bf16:
        return replace(levers, bf16=True), "bf16: convolutions round to 3 digits"
    if penalised and not (levers.finite_difference and levers.recompute):
        return (
            replace(levers, finite_difference=True, recompute=True),
            "penalties by finite differences (noisier), blocks computed again (slower)",
        )
    return None


def following(
    levers: Levers, rows: int, *, may_bf16: bool = True, penalised: bool = True
) -> tuple[Levers, str] | None:
    """Return the levers to take when memory runs out, and what they are.

    The cheapest in quality comes first: more parts, then bfloat16, then differences
    with recomputation.

    Args:
        levers: Those taken.
        rows: Of a step, of this process.
        may_bf16: Whether bfloat16 may be one.
        penalised: See :func:`next_kind`.

    Returns:
        None where all are taken.
    """
    more = levers.more_parts(rows)
    if more is not None:
        return more, _told_parts(more, rows)
    return next_kind(levers, may_bf16=may_bf16, penalised=penalised)
