"""What one look at a generator found, and what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from fiberaug.training.contracts import Verdict

__all__ = ["Look", "copying", "verdict_on"]

_CLOSER = 0.65  # balanced share nearer to training photos that ends a training
_COPIES = 0.02  # share of near-copies that does


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """Figures of the generator at one moment.

    Figures compare with photos that were held out, or with those of the training where
    there are too few of them. :class:`fiberaug.evaluate.Metrics` says what they mean.
    """

    nimg: int
    """Images shown before."""

    kid: float
    """Kernel distance, about 0 where alike; of this judge's features alone."""

    kid_error: float
    """Its standard error."""

    precision: float
    """Share of generated images that look real, in [0, 1]."""

    recall: float
    """Share of photos that could be generated, in [0, 1]."""

    density: float
    """As precision, not bounded by 1."""

    coverage: float
    """Share of photos with a generated image near, in [0, 1]."""

    near_copies: float
    """Share nearer to a training photo than 99 % of these are to each other; blurred
    images count, too."""

    given_back: float
    """Share that is near to one training photo and to no other, in [0, 1]; about 0.01
    for real photos."""

    given_back_low: float
    """Lower bound of its 95 % interval."""

    closer_to_train: float | None = None
    """Balanced share nearer to training than to held-out photos; None: there are too
    few of those."""

    closer_to_train_low: float | None = None
    """Lower bound of its 95 % interval."""

    label_accuracy: float | None = None
    """Share that the judge takes for the class that was asked for; None: there are no
    classes."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_dict` gave."""
        return cls(**stored)

    def figures(self) -> dict[str, float]:
        """Return what there is, as figures of a training: ``judge/kid`` and so on."""
        return {
            f"judge/{name}": value
            for name, value in self.to_dict().items()
            if name != "nimg" and value is not None
        }


def copying(look: Look) -> str:
    """Return why a generator must be said to copy; empty: it does not."""
    share, low = look.closer_to_train, look.closer_to_train_low
    if share is not None and low is not None and share > _CLOSER and low > 0.5:
        return (
            f"the generator copies: {share:.0%} of its images are nearer to photos that"
            " it was trained on than to others of their kind (50 % is right)"
        )
    if look.given_back_low > _COPIES:
        return (
            f"the generator copies: {look.given_back:.1%} of its images are those of"
            " single photos that it was trained on (1 % is right)"
        )
    return ""


def verdict_on(
    looks: Sequence[Look], *, patience: int | None, stop_on_copies: bool
) -> Verdict:
    """Return what follows from the last of these looks.

    The best generator has the least distance of all that did not copy.

    Args:
        looks: In order, at least one.
        patience: Looks without a better one before training ends; None: any number.
        stop_on_copies: End training when it copies.
    """
    honest = [look for look in looks if not copying(look)]
    best = min(honest, key=lambda look: look.kid, default=None)  # the first of equals
    if best is looks[-1]:
        return Verdict(best=True)
    reason = copying(looks[-1])
    since = len(looks) - 1 - (looks.index(best) if best else -1)
    kept = (
        f"the best generator is that after {best.nimg} images"
        if best
        else "no earlier look was better: train on more photos"
    )
    if reason and stop_on_copies:
        return Verdict(stop=f"{reason}; {kept}")
    if patience is not None and since >= patience:
        return Verdict(stop=f"no gain in {since} looks; {kept}")
    return Verdict()
