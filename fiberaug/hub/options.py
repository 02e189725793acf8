"""What a push is asked for, and what it returns."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fiberaug.errors import UsageError

__all__ = ["Item", "Parcel", "PushOptions", "Pushed"]

_NAME = re.compile(r"(?:[A-Za-z0-9][\w.-]{0,95}/)?[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
_BRANCH = re.compile(r"[A-Za-z0-9][\w./-]{0,99}", re.ASCII)
_MOST_MESSAGE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class PushOptions:
    """What a push is asked for."""

    name: str
    """Of the repository: ``user/name``, or ``name`` of whom the token belongs to."""

    public: bool = False
    """Whether a repository that is not there yet is one that everybody sees."""

    revision: str = "main"
    """Branch that is committed to; it is made where it is not there."""

    message: str | None = None
    """Of the commit; None: what was sent, by FiberAug."""

    licence: str | None = None
    """Of what is sent; None: as the folder says."""

    progress: bool = True
    """Show bars on a terminal."""

    def __post_init__(self) -> None:
        """Check what was asked for.

        Raises:
            UsageError: A value cannot be sent to the Hub.
        """
        check_name(self.name)
        if (
            not _BRANCH.fullmatch(self.revision)
            or ".." in self.revision
            or "//" in self.revision
            or self.revision.endswith(("/", ".", ".lock"))
            or self.revision.startswith("refs/")
        ):
            raise UsageError(
                "revision must be the name of a branch, such as main or v1, got"
                f" {self.revision!r:.120}"
            )
        if self.message is not None and not (
            self.message.strip() and len(self.message) <= _MOST_MESSAGE
        ):
            raise UsageError(
                f"message must have from 1 to {_MOST_MESSAGE} characters, got"
                f" {len(self.message)}"
            )


def check_name(name: str) -> None:
    """Refuse what the Hub does not take as the name of a repository.

    Raises:
        UsageError: It does not.
    """
    if (
        not _NAME.fullmatch(name)
        or "--" in name
        or ".." in name
        or name.endswith((".", "-", ".git"))
    ):
        raise UsageError(
            "the name must be user/name, of at most 96 letters, digits, '-', '_' and"
            f" '.', without '--' or '..' and not ending in '.git', got {name!r:.120}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One file that is sent."""

    path: str
    """In the repository."""

    source: Path | bytes
    """The file, or its content."""

    size: int
    """Bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Parcel:
    """What is sent: checked, and with its card."""

    kind: str
    """``model``, ``lora``, ``pool`` or ``dataset``."""

    items: tuple[Item, ...]
    """Files by path in the repository, the card among them."""

    card: str
    """Content of README.md."""

    notes: tuple[str, ...] = ()
    """What was left out or changed, for people."""

    @property
    def repo_type(self) -> str:
        """What the Hub calls it: ``model`` or ``dataset``."""
        return "dataset" if self.kind in {"pool", "dataset"} else "model"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(item.size for item in self.items)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, fit for JSON."""
        return {
            "kind": self.kind, "repo_type": self.repo_type, "bytes": self.size,
            "files": {item.path: item.size for item in self.items},
            "notes": list(self.notes), "card": self.card,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Pushed:
    """What came of a push."""

    parcel: Parcel
    """What was sent, or would be."""

    name: str
    """``user/name`` of the repository."""

    revision: str
    """Its branch."""

    commit: str | None = None
    """Hash of the commit that holds the files; None: nothing was sent (a dry run)."""

    url: str | None = None
    """Of the repository."""

    private: bool | None = None
    """Whether others cannot see it; None: nothing was sent."""

    notes: tuple[str, ...] = field(default=())
    """What a user should know, of the folder and of the repository."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, fit for JSON."""
        return {
            **self.parcel.to_dict(), "name": self.name, "revision": self.revision,
            "commit": self.commit, "url": self.url, "private": self.private,
            "notes": list(self.notes),
        }  # fmt: skip
