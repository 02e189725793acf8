"""What is asked of a diffusion model, checked before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fiberaug.errors import UsageError
from fiberaug.models.latents import seeds_of
from fiberaug.synthetic.denoisers import Denoiser, Told, given_labels
from fiberaug.synthetic.gan_places import Frames, given_places
from fiberaug.synthetic.samplers import Start
from fiberaug.synthetic.sampling import (
    Sampling,
    check_strength,
    given_context,
    given_images,
)

__all__ = ["Asked", "Asking"]

_STRENGTH = 0.5
_OPTIONS = "sampler, steps, guidance, image, strength"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Images that are asked for; tensors have a row for each."""

    seeds: list[int]
    """Of each image."""

    sampling: Sampling
    """Of all."""

    told: Told
    """What the network is told."""

    start: Start | None
    """Images that are changed; None: new ones are made."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What a generator can be asked for."""

    denoiser: Denoiser
    """Its network."""

    frames: Frames
    """Where its windows lie."""

    sampling: Sampling
    """What is done where nothing else is asked for."""

    classes: tuple[str, ...]
    """Class names by label."""

    def check(
        self,
        seeds: Sequence[int],
        labels: Sequence[int] | None = None,
        *,
        sampler: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        image: object = None,
        strength: float | None = None,
        places: object = None,
        context: object = None,
        **unknown: object,
    ) -> Asked:
        """Return what is asked for; see ``DiffusionGenerator.generate``.

        Raises:
            UsageError: A value is out of its range, or a condition is unknown.
        """
        seeds = seeds_of(seeds)
        if unknown:
            takes = self.denoiser.names
            more = [one for one in ("places", "context") if one in takes]
            raise UsageError(
                f"a diffusion model has no condition {', '.join(sorted(unknown)):.80};"
                f" there are {', '.join([_OPTIONS, *more])}"
            )
        return Asked(
            seeds=seeds,
            sampling=self.sampling.but(sampler=sampler, steps=steps, guidance=guidance),
            told=Told(
                given_labels(labels, len(seeds), self.denoiser.classes, self.classes),
                self._context(context, len(seeds)),
                self._places(seeds, places),
            ),
            start=self._start(image, strength, len(seeds)),
        )

    def _start(self, image: object, strength: float | None, rows: int) -> Start | None:
        if image is None:
            if strength is not None:
                raise UsageError(
                    "strength says how much of an image is replaced: give image, too"
                )
            return None
        share = check_strength(_STRENGTH if strength is None else strength)
        return Start(given_images(image, rows, self.denoiser.shape), share)

    def _context(self, context: object, rows: int) -> torch.Tensor | None:
        numbers = self.denoiser.context_dim
        if numbers == 0 and context is not None:
            raise UsageError("the network takes no context: leave it out")
        if context is None:
            return torch.zeros(rows, numbers) if numbers else None
        return torch.from_numpy(given_context(context, rows, numbers))

    def _places(self, seeds: Sequence[int], places: object) -> torch.Tensor | None:
        if "places" not in self.denoiser.names:
            if places is not None:
                raise UsageError("the generator makes no windows: leave places out")
            return None
        if places is None:
            drawn = self.frames.draw(seeds, self.denoiser.shape[1:])
            return torch.from_numpy(drawn)
        return torch.from_numpy(given_places(places, len(seeds)))
