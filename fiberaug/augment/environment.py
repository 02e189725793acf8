"""What pixels depend on beside the recipe: versions, processor, OpenCV's build."""

import importlib
import json
import os
import platform
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version

__all__ = ["environment", "environment_differences", "environment_hash"]

_PACKAGES = (
    "fiberaug",
    "albumentations",
    "albucore",
    "kornia",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "scipy",
    "torch",
)


@cache
def environment() -> dict[str, str]:
    """Return the versions and features on which CPU pixels depend.

    Where two machines differ here, pixels may differ, most of all those of warps, blurs
    and colour conversions.
    """
    import cv2  # noqa: PLC0415  # heavy, and only needed when something is recorded

    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return {
        **found,
        "opencv": cv2.__version__,
        "opencv_build": _digest(cv2.getBuildInformation()),
        "opencv_cpu": cv2.getCPUFeaturesLine(),
        "opencv_ipp": cv2.ipp.getIppVersion() if cv2.ipp.useIPP() else "off",
        "python": platform.python_version(),
        "machine": platform.machine(),
        "numpy_cpu": _numpy_features(),
    }


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _numpy_features() -> str:
    """Return the processor features that numpy's loops use here."""
    try:
        loops = importlib.import_module("numpy._core._multiarray_umath")  # numpy 2
    except ImportError:
        return os.environ.get("NPY_DISABLE_CPU_FEATURES", "")
    found = getattr(loops, "__cpu_features__", {})
    return " ".join(sorted(name for name, there in found.items() if there))


@cache
def environment_hash() -> str:
    """Return 16 hexadecimal digits that name :func:`environment`."""
    return _digest(json.dumps(environment(), sort_keys=True))


def environment_differences(then: Mapping[str, str]) -> list[str]:
    """Return what is another here than in an environment: ``name: then, now``.

    Args:
        then: :func:`environment` as it was, of a run's manifest.
    """
    now = environment()
    return [
        f"{name}: {then.get(name, 'not said')} then, {now.get(name, 'not said')} here"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
