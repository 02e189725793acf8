"""Sizes above which a shard is refused."""

from dataclasses import dataclass, fields

from fiberaug.errors import UsageError

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Sizes above which a shard is refused before anything is read into memory."""

    member_bytes: int = 256 * 2**20
    """Data of one member, in bytes, at least 1."""
    sample_bytes: int = 512 * 2**20
    """Data of all members of a sample, in bytes, at least 1."""
    name_chars: int = 1024
    """Name of one member, in characters, at least 1."""
    extended_header_bytes: int = 64 * 2**10
    """One pax header or GNU long name, in bytes, at least 1."""

    def __post_init__(self) -> None:
        """Refuse limits that are not positive integers."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(
                    f"{field.name} must be an integer of at least 1, got {value!r}"
                )
