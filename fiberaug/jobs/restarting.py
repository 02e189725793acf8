"""JPEGs made seekable: the same coefficients, with restart markers between them."""

import shutil
import subprocess
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from fiberaug.decode import turbo
from fiberaug.decode.header import ImageLimits, read_header
from fiberaug.decode.restarts import find_ends, read_layout, unit_interval
from fiberaug.errors import DataRefused, UsageError

__all__ = ["Marked", "State", "check_tool", "mark", "mark_members"]

_LIMITS = ImageLimits()
_PROGRAM = "jpegtran"
_LONGEST_S = 300.0


class State(Enum):
    """What became of a file."""

    MARKED = "marked"
    """It got restart markers."""

    ALREADY = "already"
    """It had some that it can be cut at."""

    LEFT = "left"
    """It is a JPEG that cannot have any."""

    OTHER = "other"
    """It is no JPEG."""


class Marked(NamedTuple):
    """A file that was to get restart markers."""

    data: bytes
    """The file: the very same, unless it is marked."""

    state: State
    sound: bool = False
    """Whether all of it was decoded to its coefficients without a warning."""

    reason: str = ""
    """Why it was left as it is."""


def check_tool() -> None:
    """Refuse to go on where nothing here can write restart markers.

    Raises:
        UsageError: There is neither the compiled module nor the program jpegtran.
    """
    if not turbo.available() and shutil.which(_PROGRAM) is None:
        raise UsageError(
            f"nothing here writes restart markers into JPEGs: {turbo.why_not()}; `pip"
            " install 'fiberaug[fast]'` brings what does, and so does the program"
            f" {_PROGRAM} (package libjpeg-turbo-progs) on PATH"
        )


def mark(data: bytes) -> Marked:
    """Return a JPEG with restart markers, losslessly; others as they are.

    Pixels, EXIF, profile and comments stay. A progressive JPEG becomes a baseline one.
    """
    if data[:3] != b"\xff\xd8\xff":
        return Marked(data, State.OTHER)
    if _is_cut(data):
        return Marked(data, State.ALREADY, sound=bool(turbo.sound(data)))
    interval = unit_interval(data)
    if interval is None:
        return Marked(
            data, State.LEFT, reason="it is no JPEG of 8 bits in Huffman coding"
        )
    try:
        _LIMITS.check(read_header(data))
    except DataRefused as error:
        return Marked(data, State.LEFT, reason=error.message)
    copy = (
        turbo.with_restarts(data, interval_mcus=interval)
        if turbo.available()
        else _by_program(data, interval)
    )
    if copy is None or not _is_cut(copy):
        return Marked(
            data, State.LEFT, reason="it is damaged, or its colours are of a rare kind"
        )
    return Marked(copy, State.MARKED, sound=True)


def mark_members(
    members: Mapping[str, bytes],
) -> tuple[dict[str, bytes], dict[str, Marked]]:
    """Return the members of a sample with its JPEGs marked, and what became of those.

    JPEGs are members whose extension ends in ``jpg`` or ``jpeg``.
    """
    done, found = dict(members), dict[str, Marked]()
    for extension, data in members.items():
        if extension.rpartition(".")[2] in {"jpg", "jpeg"}:
            found[extension] = mark(data)
            done[extension] = found[extension].data
    return done, found


def _is_cut(data: bytes) -> bool:
    layout = read_layout(data)
    return layout is not None and find_ends(data, layout) is not None


def _by_program(data: bytes, interval: int) -> bytes | None:
    """Return what jpegtran makes of a file; None where it has a word to say."""
    program = shutil.which(_PROGRAM)
    if program is None:
        return None
    command = [program, "-copy", "all", "-optimize", "-restart", f"{interval}B"]
    try:
        done = subprocess.run(  # noqa: S603  # found on PATH, no text of the data in it
            command, input=data, capture_output=True, timeout=_LONGEST_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    silent = done.returncode == 0 and not done.stderr
    return done.stdout if silent else None
