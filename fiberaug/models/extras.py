"""Packages that not everybody has installed."""

import importlib
import os
from typing import Any

from fiberaug.errors import UsageError

__all__ = ["import_diffusers"]


def import_diffusers() -> Any:  # noqa: ANN401  # a module
    """Return the package ``diffusers``, imported when it is first needed: it is slow.

    Told before, as it looks when it is imported: it never runs code of a folder.

    Raises:
        UsageError: It is not there.
    """
    os.environ.setdefault("DIFFUSERS_DISABLE_REMOTE_CODE", "1")
    try:
        return importlib.import_module("diffusers")
    except ImportError as error:
        raise UsageError(
            'diffusion needs diffusers: pip install "fiberaug[diffusion]"'
            f" ({error!s:.200})"
        ) from error
