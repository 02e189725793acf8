"""``--source NAME=PATH``: where sources of a run's mix are now."""

from collections.abc import Iterable

from fiberaug.errors import UsageError

__all__ = ["parse_sources"]


def parse_sources(given: Iterable[str] | None) -> dict[str, str]:
    """Return places by name.

    Raises:
        UsageError: One is no ``NAME=PATH``, or a name comes twice.

    >>> parse_sources(["gan=pools/gan"])
    {'gan': 'pools/gan'}
    """
    found: dict[str, str] = {}
    for one in given or ():
        name, equals, place = one.partition("=")
        if not name or not equals or not place or name in found:
            raise UsageError(
                f"--source takes NAME=PATH, once for each source, got {one!r}"
            )
        found[name] = place
    return found
