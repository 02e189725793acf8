"""What changes or makes pixels, as an edit needs to know it."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fiberaug.editing.options import EditOptions
from fiberaug.errors import SampleBroken, UsageError
from fiberaug.synthetic.generator import (
    ImageGenerator,
    call,
    class_names,
    describe,
    name_of,
    sample_notes,
)

__all__ = ["Editor"]

_LIMITS = (1, 4096)  # px, of what is said of sizes
_DEFAULT_STRENGTH = {"image-to-image": 0.5, "controlnet-image-to-image": 0.5}


class Editor:
    """A generator with all that an edit has to know of it.

    Args:
        generator: See :class:`fiberaug.ImageGenerator`; in the mode ``paste`` it makes
            images of classes, in all others it takes ``image``, and ``mask`` where it
            inpaints.
        options: How it is used.
        names: Class names of the photos by id.

    Raises:
        UsageError: It cannot do what is asked for, or a class is unknown.
    """

    def __init__(
        self,
        generator: ImageGenerator,
        options: EditOptions,
        names: Sequence[str] = (),
    ) -> None:
        if not isinstance(generator, ImageGenerator):
            raise UsageError(
                "an editor is a generator with generate(seeds, labels, image=...), got"
                f" {name_of(generator)}"
            )
        self.generator, self.options, self.names = generator, options, tuple(names)
        self.classes = class_names(generator)
        self.described: dict[str, Any] = describe(generator)
        self.multiple = int(getattr(generator, "multiple", 1))
        takes = getattr(generator, "takes", None)
        self._takes = None if takes is None else frozenset(takes)
        # One that says what it takes is a pipeline, which changes images of any size.
        fixed = options.mode != "paste" and takes is None
        self.native = _native(self.described) if fixed else None
        self._gray = fixed and _channels(self.described) == 1
        self._check()
        self._chosen = {self._id(one) for one in options.classes}
        self.to = None if options.to is None else self._id(options.to)
        if self.to is not None:
            self.label_of(self.to)

    def _check(self) -> None:
        mode, own = self.options.mode, getattr(self.generator, "mode", None)
        if mode != "paste" and own is not None and own != mode:
            raise UsageError(f"the base is opened for {own}, and {mode} is asked for")
        needed = {"image"} if mode != "paste" else set()
        if mode == "controlnet":
            needed = {"control"}
        if mode in {"inpaint", "controlnet-inpaint"}:
            needed |= {"mask"}
        if self._takes is None:
            return
        asked = {n for n in _TOLD if getattr(self.options, n) is not None}
        for name in sorted(needed | asked):
            if name not in self._takes:
                raise UsageError(
                    f"{name_of(self.generator)} takes no {name}: it takes"
                    f" {', '.join(sorted(self._takes)) or 'nothing'}"
                )

    def _id(self, text: str) -> int:
        """Return the id of a class that is named, or given by its id."""
        if text in self.names:
            return self.names.index(text)
        if text.isdecimal() and (not self.names or int(text) < len(self.names)):
            return int(text)
        raise UsageError(
            f"there is no class {text!r}: the photos have"
            f" {', '.join(self.names) or 'no named classes, give an id'}"
        )

    def wants(self, label: int) -> bool:
        """Return whether objects of a class are edited."""
        if self._chosen and label not in self._chosen:
            return False
        if self.options.mode != "paste" or self.to is not None or not self.classes:
            return True
        return self._name(label) in self.classes

    def _name(self, label: int) -> str:
        return self.names[label] if 0 <= label < len(self.names) else str(label)

    def label_of(self, label: int) -> int:
        """Return what the generator calls a class of the photos.

        Raises:
            UsageError: It has classes, and this is none of them.
        """
        if not self.classes:
            return max(0, label)
        name = self._name(label) if label >= 0 else ""
        if name in self.classes:
            return self.classes.index(name)
        if self.options.prompt is not None:
            return 0  # the prompt says what is painted
        raise UsageError(
            f"the base makes {', '.join(self.classes)}, and no"
            f" {name or 'background'!r}: give a prompt, or choose others with classes"
            " or to"
        )

    @property
    def tells_class(self) -> bool:
        """Whether the generator is told which object to paint."""
        options = self.options
        prompted = options.prompt is not None and "{label}" in options.prompt
        told = prompted or options.to is not None or bool(self.classes)
        return told or options.mode == "paste"

    def told(self, label: int, caption: str | None) -> dict[str, Any]:
        """Return the conditions of an edit but the pixels.

        Args:
            label: Class of what is painted; -1: of no class.
            caption: Of the photo.
        """
        found = {
            name: value
            for name in _TOLD
            if (value := getattr(self.options, name)) is not None
        }
        if "prompt" in found:
            name = self._name(label) if label >= 0 else ""
            prompt = found["prompt"].replace("{label}", name)
            found["prompt"] = prompt.replace("{caption}", caption or "").strip()
        return found

    def change(
        self,
        seed: int,
        label: int,
        image: NDArray[np.uint8],
        mask: NDArray[np.uint8],
        told: Mapping[str, Any],
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Return a changed window uint8 [h, w, 3], and what the generator says of it.

        Args:
            seed: Of the edit.
            label: Class of the photos.
            image: The window, uint8 [h, w, 3].
            mask: 255 where it is repainted, else 0, [h, w].
            told: See :meth:`told`.

        Raises:
            UsageError: The generator returned something else than it must.
        """
        mode = self.options.mode
        pixels: dict[str, Any] = {}
        given = image if not self._gray else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if mode == "controlnet" and not self._reads("image"):
            pixels["control"] = image[None]
        else:
            pixels["image"] = given.reshape(1, *image.shape[:2], -1)
        if mode in {"inpaint", "controlnet-inpaint"}:
            pixels["mask"] = mask[None]
        return self._call(seed, label, image.shape, {**told, **pixels})

    def _reads(self, name: str) -> bool:
        return self._takes is None or name in self._takes

    def make(
        self, seed: int, label: int, told: Mapping[str, Any]
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Return a new image of a class, uint8 [h, w, 3], and what is said of it."""
        return self._call(seed, label, None, told)

    def _call(
        self,
        seed: int,
        label: int,
        shape: tuple[int, ...] | None,
        conditions: Mapping[str, Any],
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        labels = [self.label_of(label)]
        made = call(self.generator, [seed], labels, **conditions)
        if shape is not None and made.shape[1:3] != shape[:2]:
            raise UsageError(
                f"{name_of(self.generator)} returned {list(made.shape[1:3])} px for a"
                f" window of {list(shape[:2])} px: give window= the size that it makes"
            )
        notes = sample_notes(self.generator, [seed], labels, **conditions)[0]
        if notes.get("safety") == "flagged":
            raise SampleBroken(
                "the safety checker of the base flagged an edit of it", stage="edit"
            )
        return np.ascontiguousarray(_three(made[0])), notes

    def strength_of(self, notes: Mapping[str, Any]) -> float:
        """Return how much of a window an edit replaces, 0 to 1."""
        said = dict(notes.get("params") or {}).get("strength")
        default = _DEFAULT_STRENGTH.get(self.options.mode, 1.0)
        return float(said or self.options.strength or default)


_TOLD = ("prompt", "negative", "strength", "steps", "guidance", "sampler")


def _three(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3]


def _native(described: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return (height, width) of the images of one that makes one size; None: of any."""
    params = described.get("params")
    if not isinstance(params, Mapping):
        return None
    size, shape = params.get("size"), params.get("shape")
    found = size if size is not None else shape
    if not isinstance(found, list | tuple) or len(found) not in {2, 3}:
        return None
    height, width = found[-2:]
    fits = all(type(n) is int and _LIMITS[0] <= n <= _LIMITS[1] for n in found[-2:])
    return (height, width) if fits else None


def _channels(described: Mapping[str, Any]) -> int | None:
    params = described.get("params")
    if not isinstance(params, Mapping):
        return None
    shape = params.get("shape")
    if isinstance(shape, list | tuple) and len(shape) == 3:
        return int(shape[0])
    found = params.get("channels")
    return found if type(found) is int else None
