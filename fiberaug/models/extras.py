"""Packages that not everybody has installed."""

import importlib
import os
import re
from typing import Any

from fiberaug.errors import UsageError

__all__ = ["LEAST_DIFFUSERS", "import_diffusers"]

LEAST_DIFFUSERS = (0, 38)
"""Releases before it run code that stands in a folder, whatever they are told:
CVE-2026-44513 and CVE-2026-45804."""


def import_diffusers() -> Any:  # noqa: ANN401  # a module
    """Return the package ``diffusers``, imported when it is first needed: it is slow.

    Told before, as it looks when it is imported: it never runs code of a folder.

    Raises:
        UsageError: It is not there, or so old that it runs code of a folder.
    """
    os.environ.setdefault("DIFFUSERS_DISABLE_REMOTE_CODE", "1")
    try:
        found = importlib.import_module("diffusers")
    except ImportError as error:
        raise UsageError(
            'diffusion needs diffusers: pip install "fiberaug[diffusion]"'
            f" ({error!s:.200})"
        ) from error
    _check_release(str(found.__version__))
    return found


def _check_release(release: str) -> None:
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is None or tuple(map(int, numbers.groups())) < LEAST_DIFFUSERS:
        least = ".".join(map(str, LEAST_DIFFUSERS))
        raise UsageError(
            f"diffusers {release} is installed, and before {least} it runs code that a"
            " folder brings, even with trust_remote_code=False (CVE-2026-44513,"
            f' CVE-2026-45804): pip install "diffusers>={least}"'
        )
