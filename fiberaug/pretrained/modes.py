"""What a pretrained pipeline can be asked for, by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fiberaug.errors import UsageError

__all__ = ["MODES", "Mode", "mode_of"]

_ALWAYS = frozenset({"prompt", "negative", "caption", "steps", "guidance", "sampler"})


@dataclass(frozen=True, kw_only=True)
class Mode:
    """One way to make or change images."""

    name: str
    pipeline: str
    """Class of diffusers."""

    more: frozenset[str]
    """Conditions that it takes beside the prompt and how it is sampled."""

    strength: float | None = None
    """Where nothing else is asked for; None: it has none."""

    source_type: str = "compositeWithTrainedAlgorithmicMedia"
    """IPTC's word for what it makes."""

    @property
    def takes(self) -> frozenset[str]:
        """Names of the conditions that it takes."""
        return _ALWAYS | self.more

    @property
    def controlled(self) -> bool:
        """Whether a ControlNet steers it."""
        return "control" in self.more

    @property
    def edits(self) -> bool:
        """Whether it changes an image; otherwise an image gives a control, or none."""
        return self.strength is not None


_ALL = (
    Mode(
        name="text-to-image", pipeline="StableDiffusionPipeline",
        more=frozenset({"size"}), source_type="trainedAlgorithmicMedia",
    ),
    Mode(
        name="image-to-image", pipeline="StableDiffusionImg2ImgPipeline",
        more=frozenset({"image", "strength"}), strength=0.5,
    ),
    Mode(
        name="inpaint", pipeline="StableDiffusionInpaintPipeline",
        more=frozenset({"image", "mask", "strength"}), strength=1.0,
    ),
    Mode(
        name="controlnet", pipeline="StableDiffusionControlNetPipeline",
        more=frozenset({"image", "control"}),
    ),
    Mode(
        name="controlnet-image-to-image",
        pipeline="StableDiffusionControlNetImg2ImgPipeline",
        more=frozenset({"image", "control", "strength"}), strength=0.5,
    ),
    Mode(
        name="controlnet-inpaint", pipeline="StableDiffusionControlNetInpaintPipeline",
        more=frozenset({"image", "mask", "control", "strength"}), strength=1.0,
    ),
)  # fmt: skip

MODES: Mapping[str, Mode] = MappingProxyType({mode.name: mode for mode in _ALL})
"""By name."""


def mode_of(name: object, *, controlnet: bool, channels: int) -> Mode:
    """Return a mode by its name.

    Args:
        name: Its name.
        controlnet: Whether a ControlNet is there.
        channels: That the UNet takes: 4, or 9 where it was made for inpainting.

    Raises:
        UsageError: There is no such mode, it needs a ControlNet or takes none, or the
            UNet is made for another.
    """
    mode = MODES.get(name) if isinstance(name, str) else None
    if mode is None:
        raise UsageError(f"mode must be one of {', '.join(MODES)}, got {name!r:.80}")
    if mode.controlled != controlnet:
        raise UsageError(
            f"the mode {mode.name} needs controlnet=, a folder"
            if mode.controlled
            else f"the mode {mode.name} takes no controlnet; with one there are"
            f" {', '.join(one.name for one in _ALL if one.controlled)}"
        )
    if channels == 9 and mode.name != "inpaint":
        raise UsageError(
            f"the UNet takes 9 channels: it is made for inpainting, not for {mode.name}"
        )
    if channels not in (4, 9):
        raise UsageError(f"the UNet takes {channels} channels; 4 and 9 are known")
    return mode
