"""Commands with a /dev/shm of their own."""

import os
import shutil
import subprocess
from collections.abc import Sequence

import pytest

__all__ = ["needs_mount", "with_own_shm"]


def with_own_shm(size: str, command: Sequence[str]) -> list[str]:
    """Return the command that runs ``command`` with an empty /dev/shm of ``size``."""
    script = 'mount -t tmpfs -o size="$0" tmpfs /dev/shm && exec "$@"'
    return ["unshare", "-m", "sh", "-c", script, size, *command]


def _can_mount() -> bool:
    if not hasattr(os, "geteuid") or os.geteuid() or shutil.which("unshare") is None:
        return False
    probe = with_own_shm("1m", ["true"])
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


needs_mount = pytest.mark.skipif(not _can_mount(), reason="needs root and unshare")
"""Skips where this user may not mount."""
