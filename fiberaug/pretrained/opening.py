"""A pretrained model opened: its folder looked at, loaded, adapted and placed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import torch

from fiberaug.errors import DataRefused, UsageError
from fiberaug.models.extras import import_diffusers
from fiberaug.pretrained.adapters import (
    Adapter,
    find_adapter,
    put_embeddings,
    put_lora,
    scales_of,
)
from fiberaug.pretrained.cards import licence_of
from fiberaug.pretrained.folders import (
    inspect_controlnet,
    load_controlnet,
    load_inspected,
)
from fiberaug.pretrained.footprint import Footprint
from fiberaug.pretrained.inspecting import Inspected, inspect_pipeline, read_json
from fiberaug.pretrained.levers import Levers, ladder, pull
from fiberaug.pretrained.modes import MODES, Mode, mode_of
from fiberaug.pretrained.pixels import check_size
from fiberaug.pretrained.places import find_folder
from fiberaug.pretrained.plans import plan_for
from fiberaug.pretrained.quiet import quiet

__all__ = ["Opened", "Wanted", "footprint_of", "open_model"]

_DTYPES = {
    "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16,
}  # fmt: skip
_SHRINKS = 8  # of the VAE, in each direction


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is to be opened, as ``PretrainedPipeline.open`` was told it."""

    base: str | Path
    mode: str = "text-to-image"
    controlnet: str | Path | None = None
    control: str = "canny"
    control_scale: float = 1.0
    lora: str | Path | Sequence[str | Path] = ()
    lora_scale: float | Sequence[float] = 1.0
    embeddings: str | Path | Mapping[str, str | Path] | Sequence[str | Path] = ()
    revision: str | None = None
    download: bool = False
    device: str | torch.device | None = None
    dtype: torch.dtype | str | None = None
    memory: str | int | None = None
    safety: bool = False
    size: int | Sequence[int] | None = None
    rows: int = 1

    def __post_init__(self) -> None:
        scale: Any = self.control_scale
        number = isinstance(scale, int | float) and type(scale) is not bool
        if not number or not 0 <= scale <= 10:
            raise UsageError(f"control_scale must be from 0 to 10, got {scale!r}")


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A pipeline of diffusers, and what it was made from."""

    wanted: Wanted
    pipeline: Any
    """Of the mode's class."""

    scheduler: Any
    """Of the folder: its schedule is that of the training."""

    mode: Mode
    size: tuple[int, int]
    """Height and width that the model was trained for, px."""

    inspected: tuple[Inspected, ...]
    """The folder, and that of the ControlNet."""

    adapters: tuple[Adapter, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What else images depend on: scales and words of adapters, ControlNet."""

    device: torch.device = torch.device("cpu")  # noqa: RUF009  # a constant
    dtype: torch.dtype = torch.float32
    levers: Levers = Levers()  # noqa: RUF009  # frozen
    """What makes it take less memory."""

    @property
    def dtype_name(self) -> str:
        """Such as ``bfloat16``."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def name(self) -> str | None:
        """The id of the Hub with its commit; None: a folder, which can be moved."""
        if self.wanted.revision is None:
            return None
        return f"{self.wanted.base}@{self.wanted.revision}"

    @cached_property
    def licence(self) -> str | None:
        """What the model card states."""
        return licence_of(self.inspected[0].folder)

    def sha256(self) -> str:
        """Return a hash of all files that were read, adapters left out."""
        if len(self.inspected) == 1:
            return self.inspected[0].sha256()
        parts = [one.sha256() for one in self.inspected]
        return sha256("\n".join(parts).encode()).hexdigest()

    def pulled(self) -> Self | None:
        """Return it with the next lever taken; None: there is none left."""
        steps = ladder(
            cuda=self.device.type == "cuda", rows=self.wanted.rows,
            may_bf16=self.wanted.dtype is None, may_fp8=not self.adapters,
            start=self.levers,
        )  # fmt: skip
        more = next((step for step in steps if step != self.levers), None)
        if more is None:
            return None
        pull(self.pipeline, more, self.device)
        dtype = torch.bfloat16 if more.bf16 else self.dtype
        return replace(self, levers=more, dtype=dtype)

    def without_lora(self) -> Self:
        """Return it with no adapter."""
        settings = {k: v for k, v in self.settings.items() if k != "lora_scale"}
        return replace(self, adapters=(), settings=settings)


def open_model(wanted: Wanted) -> Opened:
    """Return a pipeline, ready to be called.

    Raises:
        UsageError: See ``PretrainedPipeline.open``.
        DataRefused: See ``PretrainedPipeline.open``.
        StoreError: See ``PretrainedPipeline.open``.
    """
    device = _device(wanted.device)
    dtype = _dtype(wanted.dtype, device)
    listed = wanted.lora
    paths = [listed] if isinstance(listed, str | Path) else list(listed)
    adapters = tuple(find_adapter(path) for path in paths)
    scales = scales_of(wanted.lora_scale, len(adapters))
    folder = find_folder(
        wanted.base, revision=wanted.revision, download=wanted.download
    )
    inspected = [inspect_pipeline(folder, safety=wanted.safety)]
    if wanted.safety and inspected[0].index.get("safety_checker") in (
        None, [None, None],
    ):  # fmt: skip
        raise UsageError(f"safety=True needs a safety checker, and {folder} has none")
    if wanted.controlnet is not None:
        inspected.append(inspect_controlnet(wanted.controlnet))
    config = read_json(folder / "unet" / "config.json")
    mode = mode_of(
        wanted.mode, controlnet=wanted.controlnet is not None,
        channels=config.get("in_channels", 4),
    )  # fmt: skip
    size = _native(config, folder)
    levers = Levers()
    if wanted.memory is not None:
        # before a weight is read: what does not fit is said at once
        plan = plan_for(
            footprint_of(wanted, inspected, mode, size, device, dtype),
            memory=wanted.memory, may_bf16=wanted.dtype is None, may_fp8=not adapters,
        )  # fmt: skip
        levers = plan.levers
    dtype = torch.bfloat16 if levers.bf16 else dtype
    base = load_inspected(inspected[0], dtype=dtype, safety=wanted.safety)
    _check_shape(base, folder)
    controlnet = None
    if wanted.controlnet is not None:
        controlnet = load_controlnet(inspected[1], dtype=dtype)
        _check_fits(controlnet, base.unet, inspected[1].folder)
    pipeline = _formed(base, mode, controlnet, safety=wanted.safety)
    put_lora(pipeline, adapters, scales)
    told = wanted.embeddings
    words = put_embeddings(pipeline, [told] if isinstance(told, str | Path) else told)
    settings: dict[str, Any] = {}
    if adapters:
        settings["lora_scale"] = list(scales)
    if words:
        settings["embeddings"] = words
    if controlnet is not None:
        settings |= {"control": wanted.control, "control_scale": wanted.control_scale}
    pull(pipeline, levers, device)
    return Opened(
        wanted=wanted, pipeline=pipeline, scheduler=base.scheduler, mode=mode,
        size=size, inspected=tuple(inspected), adapters=adapters,
        settings=settings, device=device, dtype=dtype, levers=levers,
    )  # fmt: skip


def footprint_of(
    wanted: Wanted,
    inspected: Sequence[Inspected],
    mode: Mode,
    size: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
) -> Footprint:
    """Return what tells how much memory a pipeline takes.

    Args:
        wanted: Whose size counts, if it has one.
        inspected: Its folders.
        mode: What it does.
        size: Height and width of images where nobody asked for others, px.
        device: Where it computes.
        dtype: Of its weights.
    """
    asked = wanted.size
    if isinstance(asked, int):
        size = check_size(asked, asked)
    elif asked is not None:
        size = check_size(asked[0], asked[1])
    return Footprint(
        inspected=tuple(inspected), size=size, rows=wanted.rows,
        cuda=device.type == "cuda", dtype=dtype, edits=mode.edits,
    )  # fmt: skip


def _native(config: Mapping[str, Any], folder: Path) -> tuple[int, int]:
    """Return height and width that a UNet was trained for, px."""
    side = config.get("sample_size") or 64
    if type(side) is not int or not 1 <= side <= 2048:
        raise DataRefused(f"the UNet of {folder} has sample_size {side!r:.80}")
    return side * _SHRINKS, side * _SHRINKS


def _formed(base: Any, mode: Mode, controlnet: Any, *, safety: bool) -> Any:  # noqa: ANN401
    """Return the mode's pipeline with the components of another.

    Made by its class itself: ``from_pipe`` of diffusers casts all of them to float32.
    """
    diffusers = import_diffusers()
    parts = dict(base.components)
    if controlnet is not None:
        parts["controlnet"] = controlnet
    with quiet():
        kind = getattr(diffusers, MODES[mode.name].pipeline)
        made = kind(**parts, requires_safety_checker=safety)
    made.set_progress_bar_config(disable=True)
    return made


def _check_shape(pipeline: Any, folder: Path) -> None:  # noqa: ANN401
    shrinks = 2 ** (len(pipeline.vae.config.block_out_channels) - 1)
    if shrinks != _SHRINKS:
        raise DataRefused(
            f"the VAE of {folder} makes images {shrinks} times smaller; those of Stable"
            f" Diffusion do by {_SHRINKS}"
        )
    tokens = int(pipeline.tokenizer.model_max_length)
    read = int(pipeline.text_encoder.config.max_position_embeddings)
    if tokens > read:  # its config left the number out
        pipeline.tokenizer.model_max_length = read


def _check_fits(controlnet: Any, unet: Any, folder: Path) -> None:  # noqa: ANN401
    for name in ("cross_attention_dim", "block_out_channels", "in_channels"):
        theirs, ours = controlnet.config.get(name), unet.config.get(name)
        same = list(theirs) == list(ours) if isinstance(ours, list | tuple) else None
        if not (theirs == ours if same is None else same):
            raise DataRefused(
                f"the ControlNet of {folder} is of another model: {name} {theirs!r},"
                f" the UNet has {ours!r}"
            )


def _device(given: str | torch.device | None) -> torch.device:
    if given is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(given)
    except RuntimeError as error:
        raise UsageError(f"device {str(given)!r:.80} is unknown") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {given} is not there: use device='cpu'")
    return found


def _dtype(given: torch.dtype | str | None, device: torch.device) -> torch.dtype:
    if given is None:
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    found = _DTYPES.get(str(given).removeprefix("torch."))
    if found is None:
        raise UsageError(
            f"dtype must be one of {', '.join(_DTYPES)}, got {given!r:.80}"
        )
    return found
