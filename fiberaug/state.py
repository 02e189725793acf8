"""The state of a run: where it is, and what it belongs to."""

from collections.abc import Mapping
from typing import Any

from fiberaug.errors import StateMismatch

__all__ = ["STATE_VERSION", "check_belongs", "check_place"]

STATE_VERSION = 1


def check_belongs(state: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Check that a state belongs to a data set.

    Args:
        state: The state to resume.
        own: The data set's state at its beginning.

    Raises:
        StateMismatch: It belongs to another; the differing fields are named.
    """
    missing = set(own) - set(state)
    if missing:
        raise StateMismatch(f"the state lacks {sorted(missing)}")
    differing = [
        f"{name}: the state has {state[name]!r}, here it is {own[name]!r}"
        for name in ("v", "fingerprint", "recipe")
        if state[name] != own[name]
    ]
    plan, here = state["plan"], own["plan"]
    differing += [
        f"plan.{name}: the state has {plan.get(name)!r}, here it is {here.get(name)!r}"
        for name in dict.fromkeys((*here, *plan))
        if plan.get(name) != here.get(name)  # older states lack what is None here
    ]
    if differing:
        raise StateMismatch("the state belongs to another run; " + "; ".join(differing))


def check_place(state: Mapping[str, Any], *, samples: int | None) -> tuple[int, int]:
    """Return (epoch, position) of a state.

    Args:
        state: The state to resume.
        samples: Positions of its epoch; None: not known.

    Raises:
        StateMismatch: There is no such position.
    """
    epoch, position = int(state["epoch"]), int(state["position"])
    most = samples if samples is not None else position
    if epoch < 0 or not 0 <= position <= most:
        raise StateMismatch(f"epoch {epoch}, position {position} of {most} cannot be")
    return epoch, position
