"""Paths of this machine in JSON files: their last part is sent in place of them.

Where photos lie, and what a user is called, is nobody's business, and no other machine
can use it.
"""

import json
import re
from typing import Any

from fiberaug.errors import DataRefused

__all__ = ["scrub", "scrub_lines", "without_paths"]

_WHOLE = re.compile(r"(?:file://)?(?:/|~/|[A-Za-z]:[\\/])(?:[^/\\\n]+[/\\])+[^/\\\n]*")
_INSIDE = re.compile(
    r"(?<![\w:/.<~])(?:file://)?(?:/|~/|[A-Za-z]:\\)(?:[\w.@+-]+[/\\])+[\w.@+-]*"
)


def scrub(
    content: bytes, name: str, *, indent: int | None = 1
) -> tuple[bytes, list[str]]:
    """Return a JSON file without paths of this machine, and where they stood.

    Args:
        content: The file.
        name: For errors.
        indent: Of what is written anew.

    Returns:
        The very content where there was none.

    Raises:
        DataRefused: It is not JSON.

    >>> scrub(b'{"base": "/home/me/models/sd15", "kind": "lora"}', "generator.json")[1]
    ['base']
    """
    try:
        said = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataRefused(f"{name} is not JSON: {error!s:.200}") from error
    places: list[str] = []
    changed = _scrubbed(said, "", places)
    if not places:
        return content, []
    text = json.dumps(changed, indent=indent, ensure_ascii=False)
    return text.encode() + b"\n", places


def scrub_lines(content: bytes, name: str) -> tuple[bytes, list[str]]:
    """Return a file with a JSON value on each line; see :func:`scrub`."""
    lines: list[bytes] = []
    places: list[str] = []
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        clean: bytes = line
        found: list[str] = []
        if line.strip():
            clean, found = scrub(line, f"line {number} of {name}", indent=None)
        lines.append(clean)
        places += [f"line {number}: {one}" for one in found]
    return b"".join(lines), places


def _scrubbed(value: Any, at: str, places: list[str]) -> Any:  # noqa: ANN401  # JSON
    if isinstance(value, dict):
        changed: dict[str, Any] = {}
        for key, one in value.items():
            there = f"{at}.{key}".lstrip(".")
            name = _text(key, there, places)
            if name in changed:
                raise DataRefused(
                    f"{there} is a path whose last part stands there, too"
                )
            changed[name] = _scrubbed(one, there, places)
        return changed
    if isinstance(value, list):
        return [_scrubbed(one, f"{at}[{i}]", places) for i, one in enumerate(value)]
    return _text(value, at, places) if isinstance(value, str) else value


def _text(text: str, at: str, places: list[str]) -> str:
    changed = without_paths(text)
    if changed != text:
        places.append(at)
    return changed


def without_paths(text: str) -> str:
    """Return a text in which absolute paths are cut to their last part.

    >>> without_paths("from /home/me/photos, see https://host/a/b")
    'from photos, see https://host/a/b'
    """
    if _WHOLE.fullmatch(text):
        return _last(text)
    return _INSIDE.sub(lambda found: _last(found[0]), text)


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]
