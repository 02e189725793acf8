"""The generator in its own process: addresses to the members of samples."""

import gc
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.synthetic.generator import (
    ImageGenerator,
    class_names,
    describe,
    name_of,
    source_type,
)
from fiberaug.synthetic.held import Held
from fiberaug.synthetic.loading import load_code
from fiberaug.synthetic.made import MadeSample
from fiberaug.synthetic.making import Making, make_batch
from fiberaug.synthetic.online_place import Task
from fiberaug.synthetic.online_wanted import Address
from fiberaug.synthetic.stamping import Stamp

__all__ = ["Maker"]

_log = logging.getLogger("fiberaug")


class Maker:
    """Makes samples with a generator of its own.

    Args:
        task: What to do.
        beat: Is called when there was progress.

    Raises:
        UsageError: The factory makes no generator, or one of other classes.
    """

    def __init__(self, task: Task, beat: Callable[[], None]) -> None:
        self._beat, self._most = beat, task.batch_size
        self._shape: tuple[int, int, int] | None = None
        factory = task.factory
        made: Any = load_code(factory) if isinstance(factory, str) else factory()
        if not isinstance(made, ImageGenerator):
            raise UsageError(
                f"the factory must make a generator: {name_of(made)} has no method"
                " generate"
            )
        names = class_names(made)
        if names and names != task.classes:
            raise UsageError(
                f"classes are {list(task.classes)}, but those of the generator"
                f" {list(names)}: give the same, in the same order"
            )
        description, kind = describe(made), source_type(made)
        # The script that started it has another name in this process.
        kinds = description["class"].removeprefix("__mp_main__.")
        if kinds != description["class"]:
            description["class"] = f"__main__.{kinds}"
        self.about = {"generator": description, "source_type": kind}
        """What the samples depend on."""

        stamp = Stamp(
            description, source_type=kind, names=task.classes, labelled=True,
            conditions={}, split=None, checked=frozenset(),
        )  # fmt: skip
        self._making = Making(
            generator=Held(made, factory=False), seed=task.seed, names=task.classes,
            encoding=task.encoding, source_type=kind, stamp=stamp,
        )  # fmt: skip

    def make(
        self, wanted: Sequence[Address]
    ) -> Iterator[tuple[Address, dict[str, bytes]]]:
        """Yield the members of some samples.

        Where memory is short, batches become smaller.

        Raises:
            UsageError: The generator returned something else than it must.
        """
        done = 0
        while done < len(wanted):
            part = wanted[done : done + self._most]
            made = self._made(part)
            if made is None:
                continue
            self._beat()
            done += len(part)
            for one in made:
                if self._shape not in {None, one.shape}:
                    raise UsageError(
                        f"the generator made images of {list(self._shape or ())} and of"
                        f" {list(one.shape)}: they must be of one size"
                    )
                self._shape = one.shape
                members = {one.extension: one.image, "json": one.text.encode()}
                members["cls"] = str(one.label).encode()
                yield (one.label, one.number), members

    def _made(self, part: Sequence[Address]) -> list[MadeSample] | None:
        """Return a batch; None where there is no memory for it."""
        try:
            return make_batch(self._making, part).samples
        except Exception as error:
            if not _lacks_memory(error) or len(part) == 1:
                raise
            self._most = len(part) // 2
            told = str(error) or name_of(error)
        gc.collect()  # the error, which held what the batch took, is gone
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        _log.warning(
            "the online generator makes %d samples at once from here on: %s",
            self._most,
            told,
        )
        return None


def _lacks_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or (
        type(error).__name__ == "OutOfMemoryError"  # torch's, if torch is there
    )
