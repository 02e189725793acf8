"""What a pretrained pipeline is asked for, checked, image by image."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError
from fiberaug.pretrained.controls import canny, check_control, control_notes
from fiberaug.pretrained.options import Defaults
from fiberaug.pretrained.pixels import images_of, masks_of
from fiberaug.pretrained.prompts import check_prompt, fill, texts_of

__all__ = ["Asking", "Job"]

_STREAM = 3  # of a strength: beside those of latents, places and noise
_MOST_SEED = 2**63 - 1
_TEMPLATE = "a photo of a {label}"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One image to be made: all that it depends on."""

    seed: int
    prompt: str
    negative: str | None
    sampler: str | None
    steps: int
    guidance: float
    size: tuple[int, int]
    """Height and width, px."""

    strength: float | None = None
    image: NDArray[np.uint8] | None = None
    """That is changed, uint8 [H, W, 3]."""

    mask: NDArray[np.uint8] | None = None
    """Where it is repainted, uint8 [H, W]."""

    control: NDArray[np.uint8] | None = None
    """What steers it, uint8 [H, W, 3]."""

    notes: dict[str, Any] = field(default_factory=dict)
    """How its control came about."""

    @property
    def alike(self) -> tuple[object, ...]:
        """What images that are made at a time have in common."""
        return self.size, self.strength, self.steps, self.guidance, self.sampler

    def sha256(self) -> str:
        """Return a hash of all that the image depends on."""
        told = (self.seed, self.prompt, self.negative, *self.alike)
        whole = sha256(repr(told).encode())
        for pixels in (self.image, self.mask, self.control):
            whole.update(b"-" if pixels is None else np.ascontiguousarray(pixels).data)
        return whole.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Checks what a pipeline is asked for."""

    defaults: Defaults
    classes: tuple[str, ...]
    control: str
    """What kind of picture steers it."""

    pipeline: Any
    """Of diffusers: its tokenizer reads the prompts."""

    def check(
        self,
        seeds: Sequence[int],
        labels: Sequence[int] | None,
        conditions: dict[str, Any],
    ) -> list[Job]:
        """Return a job for each seed.

        Raises:
            UsageError: A seed, a label or a condition is out of range or unknown, or
                one is missing that the mode needs.
        """
        mode = self.defaults.mode
        given = {key: value for key, value in conditions.items() if value is not None}
        unknown = sorted(set(given) - mode.takes)
        if unknown:
            raise UsageError(
                f"the mode {mode.name} takes no {unknown[0]}; it takes"
                f" {', '.join(sorted(mode.takes))}"
            )
        numbers = [_seed(seed) for seed in seeds]
        count = len(numbers)
        names = self._names(labels, count)
        said = self.defaults.told(
            **{key: given[key] for key in ("sampler", "steps", "guidance", "strength",
               "size") if key in given}
        )  # fmt: skip
        prompts = self._prompts(given, count, names)
        negatives = texts_of(given.get("negative", said.negative), count, "negative")
        for text in {one for one in negatives if one}:
            check_prompt(text, self.pipeline, "negative")
        pixels = self._pixels(given, count)
        jobs = []
        for i, seed in enumerate(numbers):
            own = {name: rows[i] for name, rows in pixels.items()}
            shown = next(iter(own.values()), None)
            size = said.size if shown is None else (shown.shape[0], shown.shape[1])
            strength = _drawn(said.strength, seed)
            _check_taken(said.taken_steps, strength)
            job = Job(
                seed=seed, prompt=prompts[i], negative=negatives[i] or None,
                sampler=said.sampler, steps=said.taken_steps,
                guidance=said.taken_guidance, size=size, strength=strength,
                notes=self._notes(given), **own,
            )  # fmt: skip
            jobs.append(job)
        return jobs

    def _names(
        self, labels: Sequence[int] | None, count: int
    ) -> list[str] | list[None]:
        if labels is not None and len(labels) != count:
            raise UsageError(f"got {count} seeds and {len(labels)} labels")
        if not self.classes or labels is None:
            return [None] * count
        for label in labels:
            if not 0 <= label < len(self.classes):
                raise UsageError(
                    f"labels must be from 0 to {len(self.classes) - 1}, got {label}"
                )
        return [self.classes[label] for label in labels]

    def _prompts(
        self, given: dict[str, Any], count: int, names: Sequence[str | None]
    ) -> list[str]:
        own = self.defaults.prompt
        template = _TEMPLATE if own is None and self.classes else own
        templates = texts_of(given.get("prompt", template), count, "prompt")
        captions = texts_of(given.get("caption"), count, "caption")
        found = []
        for text, name, caption in zip(templates, names, captions, strict=True):
            if text is None:
                raise UsageError(
                    "a prompt is needed: prompt= (--prompt), or names of classes by"
                    f" classes= (--classes), with which it is {_TEMPLATE!r}"
                )
            found.append(fill(text, name, caption))
        for text in set(found):
            check_prompt(text, self.pipeline)
        return found

    def _pixels(
        self, given: dict[str, Any], count: int
    ) -> dict[str, NDArray[np.uint8]]:
        """Return what is given as pixels, by the name that a job has for it."""
        mode, found = self.defaults.mode, {}
        image = None
        if "image" in given:
            image = images_of(given["image"], count, "image")
        if mode.edits:
            if image is None:
                raise UsageError(f"the mode {mode.name} needs image=, what it changes")
            found["image"] = image
        if "mask" in mode.more:
            if "mask" not in given:
                raise UsageError(
                    f"the mode {mode.name} needs mask=, where it repaints the image"
                )
            found["mask"] = masks_of(given["mask"], count)
        if mode.controlled:
            found["control"] = self._control(given, image, count)
        sizes = {name: list(rows.shape[1:3]) for name, rows in found.items()}
        if len({tuple(size) for size in sizes.values()}) > 1:
            raise UsageError(f"all must be of one size (height, width), got {sizes}")
        return found

    def _control(
        self, given: dict[str, Any], image: NDArray[np.uint8] | None, count: int
    ) -> NDArray[np.uint8]:
        if "control" in given:
            pixels = np.asarray(given["control"])
            flat = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] != 3)
            if flat and self.control != "segmentation":
                pixels = np.repeat(pixels[..., None], 3, axis=-1)
            return check_control(images_of(pixels, count, "control"), self.control)
        if self.control != "canny":
            raise UsageError(
                f"a ControlNet of the kind {self.control} needs control=, uint8"
                " [N, H, W, 3]: nothing here makes it from a photo"
            )
        if image is None:
            raise UsageError(
                f"the mode {self.defaults.mode.name} needs control=, or image=, whose"
                " edges are found"
            )
        return np.stack([canny(one) for one in image])

    def _notes(self, given: dict[str, Any]) -> dict[str, Any]:
        if not self.defaults.mode.controlled:
            return {}
        return dict(control_notes(derived="control" not in given))


def _seed(seed: object) -> int:
    if not isinstance(seed, int | np.integer) or not 0 <= seed <= _MOST_SEED:
        raise UsageError(f"seeds must be integers in [0, 2**63), got {seed!r}")
    return int(seed)


def _drawn(strength: float | tuple[float, ...] | None, seed: int) -> float | None:
    """Return the strength of an image: of a ladder, the one that its seed takes."""
    if not isinstance(strength, tuple):
        return strength
    drawn = np.random.default_rng(np.random.SeedSequence([seed, _STREAM]))
    return strength[int(drawn.integers(len(strength)))]


def _check_taken(steps: int, strength: float | None) -> None:
    if strength is not None and int(steps * strength) < 1:
        raise UsageError(
            f"strength {strength:g} of {steps} steps is less than one step: steps must"
            f" be at least {int(np.ceil(1 / strength))}, or strength {1 / steps:.3g}"
        )
