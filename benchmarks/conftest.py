"""What every result says of where it was measured: versions and processor, no names."""

import os
from importlib.metadata import version

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

PACKAGES = (
    "fiberaug",
    "albumentations",
    "numpy",
    "opencv-python-headless",
    "torch",
    "webdataset",
)


def pytest_benchmark_update_machine_info(config, machine_info):
    """Add the versions, leave out the name of the machine."""
    del config
    machine_info.pop("node", None)
    machine_info["versions"] = {name: version(name) for name in PACKAGES}
    machine_info["cores"] = len(os.sched_getaffinity(0))


def pytest_benchmark_update_commit_info(config, commit_info):
    """Keep the commit alone."""
    del config
    for name in set(commit_info) - {"id", "time", "dirty"}:
        commit_info.pop(name)
