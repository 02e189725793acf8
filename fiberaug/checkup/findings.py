"""What an examination says: lines of ok, note or problem, each with its remedy."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

__all__ = ["Finding", "named", "note", "ok", "problem", "worst"]

_LEVELS = ("ok", "note", "problem")
_NAMED = 3


class Finding(NamedTuple):
    """One line."""

    level: str
    """``ok``, ``note`` (it runs, but look at it) or ``problem``."""

    topic: str
    """What was looked at, in a word or two."""

    text: str
    """What was found, with units."""

    remedy: str = ""
    """What to do; empty where nothing has to be done."""

    figures: Any = None
    """The numbers of the line as plain values, for programs."""


def ok(topic: str, text: str, figures: Any = None) -> Finding:  # noqa: ANN401  # JSON
    """Return a finding that asks for nothing."""
    return Finding("ok", topic, text, "", figures)


def note(topic: str, text: str, remedy: str = "", figures: Any = None) -> Finding:  # noqa: ANN401  # JSON
    """Return a finding that a run survives."""
    return Finding("note", topic, text, remedy, figures)


def problem(topic: str, text: str, remedy: str, figures: Any = None) -> Finding:  # noqa: ANN401  # JSON
    """Return a finding that stops a run or spoils its result."""
    return Finding("problem", topic, text, remedy, figures)


def worst(findings: Iterable[Finding]) -> str:
    """Return the highest level among the findings.

    >>> worst([ok("a", "fine"), problem("b", "gone", "bring it back")])
    'problem'
    """
    return max((f.level for f in findings), key=_LEVELS.index, default="ok")


def named(names: Collection[str]) -> str:
    """Return some names of many.

    >>> named(["a.tar", "b.tar", "c.tar", "d.tar", "e.tar"])
    'a.tar, b.tar, c.tar and 2 more'
    """
    names = list(names)
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
