"""Tells Accelerate which batch is the last, as its own loaders do.

``accelerator.accumulate`` steps after the last batch of a loader, and
``gather_for_metrics`` leaves out the rows that only fill it up. Both ask the loader
that runs for ``end_of_dataloader`` and ``remainder``. (accelerate 1.15, state.py,
``GradientState``.)
"""

from typing import Any

from fiberaug.ranks import accelerate_module

__all__ = ["announce", "withdraw"]


def announce(loader: Any) -> None:  # noqa: ANN401  # whatever has the two attributes
    """Make ``loader`` the one that Accelerate asks; nothing where it is not used."""
    module = accelerate_module()
    if module is not None:
        state = module.GradientState()
        state._remove_dataloader(loader)  # noqa: SLF001  # what its loaders call
        state._add_dataloader(loader)  # noqa: SLF001


def withdraw(loader: Any) -> None:  # noqa: ANN401
    """Let Accelerate ask the loader that ran before this one."""
    module = accelerate_module()
    if module is not None:
        module.GradientState()._remove_dataloader(loader)  # noqa: SLF001
