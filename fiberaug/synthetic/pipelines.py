"""A pipeline of diffusers that makes images of classes, which diffusers has not."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from fiberaug.errors import UsageError
from fiberaug.models.extras import import_diffusers
from fiberaug.models.latents import to_levels
from fiberaug.synthetic.denoisers import given_labels
from fiberaug.synthetic.samplers import (
    Predict,
    Start,
    check_steps,
    denoise,
    guided,
    set_steps,
)
from fiberaug.synthetic.sampling import Sampling, check_strength, given_images

__all__ = ["ClassConditionalPipeline"]

_OUTPUTS = ("pil", "np", "pt")
_diffusers = import_diffusers()
_Base: Any = _diffusers.DiffusionPipeline


class ClassConditionalPipeline(_Base):  # type: ignore[misc]  # it has no types
    """Images of classes, of a ``UNet2DModel`` and any scheduler of diffusers.

    The last row of the class embedding stands for no class. What
    :meth:`fiberaug.synthetic.diffusions.DiffusionGenerator.save` wrote is loaded by
    ``ClassConditionalPipeline.from_pretrained(folder, use_safetensors=True,
    local_files_only=True)``, and saved by ``save_pretrained``.

    Args:
        unet: ``UNet2DModel`` with or without ``num_class_embeds``.
        scheduler: It takes the noise out.
    """

    def __init__(self, unet: Any, scheduler: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)

    @torch.no_grad()
    def __call__(
        self,
        class_labels: Sequence[int] | torch.Tensor | None = None,
        *,
        batch_size: int | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        num_inference_steps: int = 20,
        guidance_scale: float = 1.0,
        image: NDArray[np.uint8] | None = None,
        strength: float = 0.5,
        output_type: str = "pil",
        callback: Callable[[int, torch.Tensor], None] | None = None,
        return_dict: bool = True,
    ) -> Any:  # noqa: ANN401  # ImagePipelineOutput or a tuple
        """Return ``ImagePipelineOutput``; of ``return_dict=False`` its only value.

        Args:
            class_labels: Of each image. None: of no class.
            batch_size: Number of images. None: that of the labels, or 1.
            generator: One for each image, or one for all; on the CPU, an image is the
                same on any device.
            num_inference_steps: 1 to 1,000.
            guidance_scale: 0 to 100; 1: as trained.
            image: That is changed: uint8 [B, H, W, C] or [H, W, C].
            strength: How much of it is replaced, in (0, 1].
            output_type: ``pil``; ``np``, uint8 [B, H, W, C]; or ``pt``, float
                [B, C, H, W] in about [-1, 1].
            callback: Called with (0, what it begins with), then with the number of
                steps taken and the images after each.
            return_dict: Whether the images are wrapped.

        Raises:
            UsageError: An argument is out of its range.
        """
        if output_type not in _OUTPUTS:
            raise UsageError(
                f"output_type must be one of {', '.join(_OUTPUTS)}, got {output_type!r}"
            )
        guidance = Sampling(guidance=guidance_scale).guidance
        labels, rows = self._labels(class_labels, batch_size)
        if guidance != 1 and labels is None:
            raise UsageError(
                f"guidance_scale is {guidance_scale} and needs classes, and the UNet"
                " has none: leave it at 1"
            )
        if isinstance(generator, list) and len(generator) != rows:
            raise UsageError(f"{rows} images need {rows} generators, one for each")
        set_steps(self.scheduler, check_steps(num_inference_steps))
        start = None
        if image is not None:
            given = given_images(image, rows, self._shape).to(self.device)
            start = Start(given, check_strength(strength))
        images = denoise(
            self._predict(labels, guidance), self._noise(rows, generator),
            self.scheduler, generator, start, callback,
        )  # fmt: skip
        made: Any = images
        if output_type != "pt":
            made = to_levels(images)
        if output_type == "pil":
            plain = made[..., 0] if made.shape[3] == 1 else made
            made = [Image.fromarray(one) for one in plain]
        if not return_dict:
            return (made,)
        return _diffusers.ImagePipelineOutput(images=made)

    @property
    def _shape(self) -> tuple[int, int, int]:
        size, channels = self.unet.config.sample_size, self.unet.config.out_channels
        height, width = (size, size) if isinstance(size, int) else size
        return channels, height, width

    def _labels(
        self, given: Sequence[int] | torch.Tensor | None, rows: int | None
    ) -> tuple[torch.Tensor | None, int]:
        """Return labels, None where there are no classes, and the number of images."""
        if isinstance(given, torch.Tensor):
            given = given.tolist()
        embeds = self.unet.config.num_class_embeds
        classes = embeds - 1 if embeds else 0
        if rows is None:
            rows = 1 if given is None else len(given)
        if type(rows) is not int or rows < 1:
            raise UsageError(f"batch_size must be an integer >= 1, got {rows!r}")
        labels = given_labels(given, rows, classes)
        return None if labels is None else labels.to(self.device), rows

    def _noise(
        self, rows: int, generator: torch.Generator | list[torch.Generator] | None
    ) -> torch.Tensor:
        several = generator if isinstance(generator, list) else [generator] * rows
        drawn = [
            torch.randn(
                self._shape, generator=one, device="cpu" if one is None else one.device
            )
            for one in several
        ]
        return torch.stack(drawn).to(self.device)

    def _predict(self, labels: torch.Tensor | None, guidance: float) -> Predict:
        def of(told: torch.Tensor | None) -> Predict:
            def predict(images: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
                made: torch.Tensor = self.unet(
                    images.to(self.unet.dtype), times, told, return_dict=False
                )[0]
                return made.float()

            return predict

        if labels is None:
            return of(None)
        null = torch.full_like(labels, self.unet.config.num_class_embeds - 1)
        return guided(of(labels), of(null), guidance)
