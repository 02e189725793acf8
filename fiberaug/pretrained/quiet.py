"""Bars and advice of diffusers and transformers, hidden while something is done."""

import contextlib
import warnings
from collections.abc import Iterator

__all__ = ["quiet"]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide what the libraries tell; their settings are as before at the end."""
    from diffusers.utils import logging as ours  # noqa: PLC0415  # optional
    from transformers.utils import logging as theirs  # noqa: PLC0415

    libraries = (ours, theirs)
    levels = [one.get_verbosity() for one in libraries]
    bars = [one.is_progress_bar_enabled() for one in libraries]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for one in libraries:
                one.set_verbosity_error()
                one.disable_progress_bar()
            yield
        finally:
            for one, level, bar in zip(libraries, levels, bars, strict=True):
                one.set_verbosity(level)
                if bar:
                    one.enable_progress_bar()
