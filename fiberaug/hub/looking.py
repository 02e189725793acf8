"""Content of files that are sent: what its name says, and nobody's secret."""

import json
import re
from pathlib import Path

from fiberaug.errors import DataRefused, SecurityRefused, StoreError

__all__ = ["check_content", "secret_in"]

_MAGIC = {
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpg": (b"\xff\xd8\xff",),
    ".jpeg": (b"\xff\xd8\xff",),
    ".gif": (b"GIF87a", b"GIF89a"),
    ".webp": (b"RIFF",),
}
_TEXTS = frozenset({".json", ".jsonl", ".csv", ".tsv", ".md", ".txt", ".yaml", ".yml"})
_MOST_TEXT = 64 * 2**20
_MOST_HEADER = 100_000_000  # the bound of safetensors itself

_SECRETS = {
    "a token of the Hub": re.compile(r"\bhf_[A-Za-z0-9]{30,}\b"),
    "a key of AWS": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token of GitHub": re.compile(
        r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,})\b"
    ),
    "a key of Google": re.compile(r"\bAIza[0-9A-Za-z_-]{35}\b"),
    "a secret key": re.compile(r"\bsk-[A-Za-z0-9_-]{32,}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a URL with a password": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@"),
    "a signed URL": re.compile(r"[?&](?:X-Amz-Signature|X-Goog-Signature|sig)=\w"),
}


def secret_in(text: str, token: str | None = None) -> str | None:
    """Return what kind of secret a text seems to hold, or None.

    Args:
        text: Any.
        token: That the push is made with.
    """
    if token and token in text:
        return "the token that this push is made with"
    return next((what for what, one in _SECRETS.items() if one.search(text)), None)


def check_content(path: Path, name: str, *, token: str | None = None) -> None:
    """Refuse a file that is not what its name says, or that seems to hold a secret.

    Args:
        path: The file.
        name: Its path in the repository, for errors.
        token: That the push is made with.

    Raises:
        DataRefused: It is something else.
        SecurityRefused: It seems to hold a secret.
        StoreError: It cannot be read.
    """
    kind = path.suffix.lower()
    try:
        if kind in _MAGIC:
            with path.open("rb") as file:
                head = file.read(16)
            if not head.startswith(_MAGIC[kind]):
                raise DataRefused(f"{name} is no {kind[1:]} image")
        elif kind == ".safetensors":
            _check_weights(path, name)
        elif kind in _TEXTS or not kind:
            _check_text(path, name, token)
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def _check_weights(path: Path, name: str) -> None:
    """Refuse what does not begin as safetensors: a pickle under that name, say."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_MOST_HEADER, size - 8):
            raise DataRefused(f"{name} is no safetensors file")
        head = file.read(length)
    try:
        said = json.loads(head)
        ends = [
            one["data_offsets"][1] for key, one in said.items() if key != "__metadata__"
        ]
        sound = max(ends, default=0) == size - 8 - length
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataRefused(f"{name} is no safetensors file: {error!s:.100}") from error
    if not sound:
        raise DataRefused(f"{name} is cut off, or has bytes that no tensor is made of")


def _check_text(path: Path, name: str, token: str | None) -> None:
    if path.stat().st_size > _MOST_TEXT:
        raise DataRefused(f"{name} is larger than {_MOST_TEXT} bytes, for a text")
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise DataRefused(f"{name} is no UTF-8 text: {error.reason}") from error
    if "\0" in text:
        raise DataRefused(f"{name} is no text: it has null characters")
    secret = secret_in(text, token)
    if secret:
        raise SecurityRefused(f"{name} seems to hold {secret}: remove it")
