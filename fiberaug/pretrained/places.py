"""Where a pretrained model is: a folder of the user's, or a commit of the Hub."""

import re
from pathlib import Path

from fiberaug.errors import StoreError, UsageError

__all__ = ["COMMIT", "find_folder", "link_root"]

COMMIT = re.compile(r"[0-9a-f]{40}")
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_READ = ["*.json", "*/*.json", "*/*.txt", "*/*.safetensors", "*.safetensors", "*.md"]
_UNREAD = ["*.fp16.*", "*.bf16.*", "*non_ema*", "v1-*", "v2-*", "sd_*", "sd-*"]
"""Variants, and the single file that repeats what the folders hold."""


def find_folder(
    base: str | Path, *, revision: str | None = None, download: bool = False
) -> Path:
    """Return the folder of a model.

    Args:
        base: A folder, or the id of a repository of the Hub, such as ``owner/name``.
        revision: Of an id: its commit, 40 hex digits.
        download: Fetch what is not there yet. False: an id is looked for among what was
            fetched before, and no socket is opened.

    Raises:
        UsageError: There is no such folder, the revision is no commit, or
            ``huggingface_hub`` is not installed.
        StoreError: The commit is not there, or cannot be fetched.
    """
    folder = Path(base)
    if folder.is_dir():
        if revision is not None or download:
            raise UsageError(
                f"{base} is a folder of this machine: revision and download are for an"
                " id of the Hub"
            )
        return folder
    name = str(base)
    if not _ID.fullmatch(name):
        raise UsageError(
            f"base must be a folder, or an id of the Hub such as owner/name, got"
            f" {name!r:.120}: there is no such folder"
        )
    if revision is None:
        raise UsageError(
            f"there is no folder {name!r}; if it is an id of the Hub, give"
            " download=True and revision=, the hash of a commit (40 hex digits)"
        )
    if not COMMIT.fullmatch(revision):
        raise UsageError(
            "revision must be the hash of a commit, 40 hex digits, got"
            f" {revision!r:.80}: what a branch or a tag stands for can change from one"
            " run to the next, and then other images come from the same command. The"
            " page of the repository lists its commits under History"
        )
    return _snapshot(name, revision, download=download)


def link_root(folder: Path) -> tuple[Path, ...]:
    """Return the folders that links of a folder may lead into.

    The Hub's cache keeps files once, beside the commits, and links to them.
    """
    real = folder.resolve()
    roots = [real]
    blobs = real.parent.parent / "blobs"
    if real.parent.name == "snapshots" and COMMIT.fullmatch(real.name):
        roots += [blobs.resolve()] if blobs.is_dir() else []
    return tuple(roots)


def _snapshot(name: str, revision: str, *, download: bool) -> Path:
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415  # optional
    except ImportError as error:
        raise UsageError(
            'an id of the Hub needs huggingface_hub: pip install "fiberaug[diffusion]"'
        ) from error
    try:
        found = snapshot_download(
            name, revision=revision, local_files_only=not download,
            allow_patterns=_READ, ignore_patterns=_UNREAD,
        )  # fmt: skip
        return Path(found)
    except (OSError, ValueError) as error:  # its errors are of one of the two
        remedy = "" if download else "; download=True fetches it"
        reason = str(error).strip().partition("\n")[0]
        raise StoreError(
            f"{name} at {revision[:12]} is not there{remedy} ({reason:.200})"
        ) from error
