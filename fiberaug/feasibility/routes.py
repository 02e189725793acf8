"""The ways to more images, each with what it would take here."""

from dataclasses import dataclass
from typing import Any

from fiberaug.feasibility.evidence import Evidence

__all__ = ["Route"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One way to more images."""

    name: str
    """``gan``, ``diffusion``, ``lora``, ``edit``, ``paste`` or ``augment``."""

    what: str
    """In words."""

    fits: bool
    """Whether it can be done in that memory, with that data."""

    why: str = ""
    """Why it does not fit, or what to know of it."""

    peak: int | None = None
    """Bytes of memory at its worst moment; None: not known, as it does not fit."""

    levers: str = ""
    """What makes it need less memory, as text; empty: nothing had to."""

    images: int = 0
    """Photos to show, or images to make."""

    hours: float | None = None
    """An estimate of the time for those, on this machine."""

    disk: int = 0
    """Bytes of a disk, the base's files included."""

    command: str = ""
    """That does it; words in capitals are to be filled in."""

    evidence: tuple[Evidence, ...] = ()
    """What is published."""

    notes: tuple[str, ...] = ()
    """What a user should read before it begins."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, fit for JSON."""
        evidence = [
            {"text": one.text, "source": one.source, "speaks": one.speaks}
            for one in self.evidence
        ]
        return {
            "name": self.name, "what": self.what, "fits": self.fits, "why": self.why,
            "peak_bytes": self.peak, "levers": self.levers, "images": self.images,
            "hours": self.hours, "disk_bytes": self.disk, "command": self.command,
            "notes": list(self.notes), "evidence": evidence,
        }  # fmt: skip
