"""Runs one target under atheris; the three scripts beside it are its commands."""

import sys
from pathlib import Path

__all__ = ["drive"]

_DEFAULTS = ("-timeout=10", "-rss_limit_mb=2048", "-max_len=8192")


def drive(name: str) -> None:
    """Fuzz a target until libFuzzer's own options say that it is enough.

    A slow input (10 s) and one that takes 2 GiB are crashes, too.

    Args:
        name: A name of ``targets.TARGETS``.
    """
    import atheris

    sys.path.insert(0, str(Path(__file__).parent))
    with atheris.instrument_imports(include=["fiberaug"]):
        from targets import TARGETS

    target = TARGETS[name]
    atheris.Setup([sys.argv[0], *_DEFAULTS, *sys.argv[1:]], target)
    atheris.Fuzz()
