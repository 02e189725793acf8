"""``pipe:`` shards: the output of a program as one shard, without a shell."""

import os
import re
import shlex
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

from fiberaug.errors import SecurityRefused, StoreError, UsageError

__all__ = ["describe_pipe", "is_pipe", "pipe_name", "run_pipe"]

_PIPE = "pipe:"
_SHELL = frozenset({"|", "||", "&", "&&", ";", "<", ">", ">>", "2>", "2>&1"})
_TAR = re.compile(r"([A-Za-z0-9._-]+\.tar)(?:[?#].*)?")


def is_pipe(text: str) -> bool:
    """Return whether a text names the output of a program."""
    return text.startswith(_PIPE)


def _words(text: str) -> list[str]:
    try:
        words = shlex.split(text.removeprefix(_PIPE))
    except ValueError as error:
        raise UsageError(f"the quotes of a pipe: shard do not close: {error}") from None
    if not words:
        raise UsageError("a pipe: shard names no program")
    shell = [w for w in words if w in _SHELL or "`" in w or "$(" in w]
    if shell:
        raise SecurityRefused(
            f"a pipe: shard has {shell[0]!r}, which needs a shell, and none is run;"
            " name one program and its arguments, or use http(s)://, s3://, gs:// or"
            " hf://"
        )
    return words


def pipe_name(text: str) -> str:
    """Return the file name of a ``pipe:`` shard: that of its last argument with one.

    Raises:
        UsageError: It names no program.
        SecurityRefused: It needs a shell.

    >>> pipe_name("pipe:aws s3 cp s3://bucket/train-000.tar -")
    'train-000.tar'
    """
    for word in reversed(_words(text)):
        match = _TAR.fullmatch(word.rpartition("/")[2])
        if match:
            return match[1]
    return sha256(text.encode(errors="surrogatepass")).hexdigest()[:16] + ".tar"


def describe_pipe(text: str) -> str:
    """Return what records and errors say of it: arguments can hold credentials.

    >>> describe_pipe("pipe:curl -H 'Authorization: x' https://host/a.tar")
    'pipe:curl ... a.tar'
    """
    return f"{_PIPE}{Path(_words(text)[0]).name} ... {pipe_name(text)}"


def run_pipe(text: str, target: Path) -> None:
    """Write the whole output of a program to a file.

    The program has no shell, no input, and is ended with this process's interest in it.

    Raises:
        StoreError: It cannot be run, or fails; its own message is not repeated.
    """
    words = _words(text)
    flags = os.O_WRONLY | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    try:
        with (
            os.fdopen(os.open(target, flags), "wb") as file,
            tempfile.TemporaryFile() as said,
            subprocess.Popen(  # noqa: S603  # the user allowed it, and it has no shell
                words, stdin=subprocess.DEVNULL, stdout=file, stderr=said
            ) as process,
        ):
            try:
                code = process.wait()
            except BaseException:
                process.kill()
                raise
    except OSError as error:
        raise StoreError(
            f"cannot run {describe_pipe(text)}: {error.strerror or error}"
        ) from None
    if code:
        raise StoreError(
            f"{describe_pipe(text)} ended with code {code}; run it by hand to see why"
        )
