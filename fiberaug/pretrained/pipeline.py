"""A pretrained pipeline as a maker of images: the same image from the same seed."""

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from fiberaug.allocator import give_back_freed_memory
from fiberaug.errors import UsageError
from fiberaug.pretrained.asking import Asking, Job
from fiberaug.pretrained.calling import call_pipeline
from fiberaug.pretrained.controls import check_kind
from fiberaug.pretrained.opening import Opened, Wanted, footprint_of, open_model
from fiberaug.pretrained.options import Defaults
from fiberaug.pretrained.pixels import MULTIPLE
from fiberaug.pretrained.plans import Plan, is_out_of_memory, plan_for
from fiberaug.pretrained.schedulers import config_sha256, make_scheduler

__all__ = ["PretrainedPipeline"]

_log = logging.getLogger("fiberaug")
_KEPT = 4096  # verdicts of a safety checker


class PretrainedPipeline:
    """Makes or changes images with a Stable Diffusion that others trained.

    An image depends on its seed and its own conditions alone, to the last bit, in any
    batch: images are made ``rows`` at a time, the last ones filled up, and its noise is
    drawn on the CPU, of its seed alone. Another number of threads, another machine or a
    GPU may round otherwise.

    Use :meth:`open`.

    Attributes:
        mode: What it does, such as ``image-to-image``.
        takes: Names of the conditions that :meth:`generate` takes.
        multiple: Sides of images are multiples of it, px.
        classes: Class names by label.
        pipeline: The pipeline of diffusers.
    """

    multiple = MULTIPLE

    def __init__(
        self, opened: Opened, defaults: Defaults, *, classes: Sequence[str], rows: int
    ) -> None:
        self._opened, self._defaults, self.rows = opened, defaults, rows
        self.classes = tuple(classes)
        self.pipeline = opened.pipeline
        self.mode = defaults.mode.name
        self.takes = defaults.mode.takes
        self.source_type = defaults.mode.source_type
        self._asking = Asking(
            defaults=defaults, classes=self.classes, control=opened.wanted.control,
            pipeline=opened.pipeline,
        )  # fmt: skip
        self._verdicts: OrderedDict[str, bool] = OrderedDict()

    @classmethod
    def open(
        cls,
        base: str | Path,
        *,
        mode: str = "text-to-image",
        controlnet: str | Path | None = None,
        control: str = "canny",
        control_scale: float = 1.0,
        lora: str | Path | Sequence[str | Path] = (),
        lora_scale: float | Sequence[float] = 1.0,
        embeddings: str | Path | Mapping[str, str | Path] | Sequence[str | Path] = (),
        classes: Sequence[str] = (),
        prompt: str | None = None,
        negative: str | None = None,
        sampler: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        strength: float | Sequence[float] | None = None,
        size: int | Sequence[int] | None = None,
        revision: str | None = None,
        download: bool = False,
        device: str | torch.device | None = None,
        dtype: torch.dtype | str | None = None,
        memory: str | int | None = None,
        safety: bool = False,
        rows: int = 1,
    ) -> Self:
        """Return a pipeline that a folder or the Hub holds.

        The folder may come from a stranger: it is looked at before diffusers sees it,
        weights are read from safetensors alone, and nothing in it is run.

        Args:
            base: Folder of diffusers (``model_index.json``), or an id of the Hub.
            mode: ``text-to-image``, ``image-to-image``, ``inpaint``, ``controlnet``,
                ``controlnet-image-to-image`` or ``controlnet-inpaint``.
            controlnet: Folder of a ControlNet, for the last three.
            control: What it is steered by: ``canny``, which is found in an image where
                none is given, ``depth`` or ``segmentation``, which are given.
            control_scale: How much it is steered, 0 to 10.
            lora: Adapters, each a ``.safetensors`` file or a folder with one.
            lora_scale: Of all, or of each; 0: as without.
            embeddings: Words learned by textual inversion: a file or a folder with one,
                several of them, or files by token.
            classes: Class names by label, which ``{label}`` in a prompt stands for.
            prompt: Text to follow where a call gives none; ``{label}`` and
                ``{caption}`` are filled in. None: ``a photo of a {label}``.
            negative: Text to avoid.
            sampler: ``ddim``, ``ddpm``, ``dpmsolver++``, ``unipc``, ``euler`` or
                ``lcm``. None: as the folder says.
            steps: Denoising steps, 1 to 1,000. None: 25, or 4 with ``lcm``.
            guidance: 0 to 100; 1: none. None: 2, or 1 with ``lcm``.
            strength: How much of an image is replaced, (0, 1]. Several: each image
                takes one by its seed. None: 0.5, and 1 where a mask says where.
            size: Height and width of a new image, px, or of the largest that is
                changed, which a plan is made for. None: as the folder says.
            revision: Of an id of the Hub: its commit, 40 hex digits.
            download: Fetch it. False: no socket is opened.
            device: Where it computes. None: on a GPU where there is one.
            dtype: Of its weights, such as ``"bfloat16"``. None: bfloat16 on a GPU,
                float32 on a CPU.
            memory: What it may take at most, such as ``"8GB"``, see :meth:`plan`.
                None: levers are not chosen.
            safety: Whether the folder's safety checker looks at each image; one that it
                flags comes back black.
            rows: Images that are made at a time, 1 to 64.

        Raises:
            UsageError: An argument is out of range, there is no such folder, or
                diffusers is not installed or too old.
            DataRefused: The folder is broken, or brings what could run.
            StoreError: It cannot be read or fetched.
        """
        if type(rows) is not int or not 1 <= rows <= 64:
            raise UsageError(f"rows must be an integer from 1 to 64, got {rows!r}")
        wanted = Wanted(
            base=base, mode=mode, controlnet=controlnet, control=check_kind(control),
            control_scale=control_scale, lora=lora, lora_scale=lora_scale,
            embeddings=embeddings, revision=revision, download=download, device=device,
            dtype=dtype, memory=memory, safety=safety, size=size, rows=rows,
        )  # fmt: skip
        opened = open_model(wanted)
        defaults = Defaults.of(
            opened.mode, opened.size, type(opened.scheduler).__name__,
            prompt=prompt, negative=negative, sampler=sampler, steps=steps,
            guidance=guidance, strength=strength,
            size=size if "size" in opened.mode.more else None,
        )  # fmt: skip
        return cls(opened, defaults, classes=_classes(classes), rows=rows)

    def generate(
        self,
        seeds: Sequence[int],
        labels: Sequence[int] | None = None,
        **conditions: Any,  # noqa: ANN401  # checked
    ) -> NDArray[np.uint8]:
        """Return images, uint8 [N, H, W, 3], one for each seed.

        Args:
            seeds: Each in [0, 2**63).
            labels: Class of each, for ``{label}`` in the prompt.
            conditions: Those of :attr:`takes`, others are refused. ``image`` uint8
                [N, H, W, 3], or [H, W, 3] for all; ``mask`` uint8 [N, H, W], repainted
                where it is 128 or more; ``control`` uint8 [N, H, W, 3]; ``prompt``,
                ``negative``, ``caption`` text, or one an image; ``strength``,
                ``steps``, ``guidance``, ``sampler``, ``size`` see :meth:`open`. Sides
                are multiples of 8 px; the result is as large as the image.

        Raises:
            UsageError: A condition is unknown, missing or out of range, or a prompt is
                longer than the text encoder reads.
        """
        jobs = self._asking.check(seeds, labels, conditions)
        height, width = jobs[0].size if jobs else self._defaults.size
        made = np.empty((len(jobs), height, width, 3), np.uint8)
        for start, stop in _runs(jobs, self.rows):
            made[start:stop] = self._make(jobs[start:stop])
        return made

    def sample_notes(
        self,
        seeds: Sequence[int],
        labels: Sequence[int] | None,
        **conditions: Any,  # noqa: ANN401  # as of generate
    ) -> list[dict[str, Any]]:
        """Return what each image was made from; see :meth:`generate`."""
        jobs = self._asking.check(seeds, labels, conditions)
        found: list[dict[str, Any]] = []
        for job in jobs:
            scheduler = make_scheduler(self._opened.scheduler, job.sampler)
            params: dict[str, Any] = {
                "prompt": job.prompt, "steps": job.steps, "guidance": job.guidance,
                "scheduler": type(scheduler).__name__,
                "scheduler_sha256": config_sha256(scheduler),
                "dtype": self._opened.dtype_name, "mode": self.mode,
                "size": list(job.size),
            }  # fmt: skip
            if self._opened.levers.changing:
                params["levers"] = list(self._opened.levers.changing)
            optional = {
                "negative": job.negative, "sampler": job.sampler,
                "strength": job.strength,
            }  # fmt: skip
            params |= {key: one for key, one in optional.items() if one is not None}
            if self._defaults.mode.controlled:
                params |= {"control": self._opened.wanted.control, **job.notes}
                params["control_scale"] = self._opened.wanted.control_scale
            note: dict[str, Any] = {"params": params}
            if self._opened.wanted.safety:
                note["safety"] = "flagged" if self._verdict(job) else "passed"
            found.append(note)
        return found

    def describe(self) -> dict[str, Any]:
        """Return kind, hash of the weights, licence, adapters, settings and device."""
        said, opened = self._defaults, self._opened
        params: dict[str, Any] = {
            "mode": self.mode, "prompt": said.prompt, "negative": said.negative,
            "sampler": said.sampler, "steps": said.taken_steps,
            "guidance": said.taken_guidance,
            "strength": said.strength, "size": list(said.size),
            "dtype": opened.dtype_name, "rows": self.rows,
            "safety": opened.wanted.safety, **opened.settings,
            "levers": list(opened.levers.changing) or None,
        }  # fmt: skip
        found = {
            "kind": "pretrained",
            "name": opened.name,
            "sha256": self._sha256,
            "licence": opened.licence,
            "lora": [one.sha256 for one in opened.adapters],
            "params": {key: one for key, one in params.items() if one is not None},
            "device": str(opened.device),
        }
        return {key: one for key, one in found.items() if one is not None}

    def unload_lora(self) -> None:
        """Take the adapters out: images are as those of the base again."""
        self.pipeline.unload_lora_weights()
        self._opened = self._opened.without_lora()

    def plan(self, **conditions: Any) -> Plan:  # noqa: ANN401  # as of generate
        """Return levers and the predicted peak for images of a size.

        Args:
            conditions: Of :meth:`generate`: ``size`` or ``image`` says how large they
                are. Without them they are as :meth:`open` was told.

        Raises:
            UsageError: It does not fit into the memory that :meth:`open` was told.
        """
        opened = self._opened
        size: Any = conditions.get("size") or self._defaults.size
        if conditions.get("image") is not None:
            size = np.asarray(conditions["image"]).shape[-3:-1]
        wanted = replace(opened.wanted, size=size)
        footprint = footprint_of(
            wanted, opened.inspected, opened.mode, opened.size, opened.device,
            opened.dtype,
        )  # fmt: skip
        return plan_for(
            footprint, memory=wanted.memory, may_bf16=wanted.dtype is None,
            may_fp8=not opened.adapters, levers=opened.levers,
        )  # fmt: skip

    @cached_property
    def _sha256(self) -> str:
        return self._opened.sha256()

    def _make(self, jobs: Sequence[Job]) -> NDArray[np.uint8]:
        filled = [*jobs, *[jobs[-1]] * (self.rows - len(jobs))]
        while True:
            try:
                pixels, flags = call_pipeline(self._opened, filled)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._take_lever(error)  # the images that were made are let go then
                continue
            break
        if flags is not None:
            for job, flag in zip(jobs, flags, strict=False):
                self._verdicts[job.sha256()] = flag
            while len(self._verdicts) > _KEPT:
                self._verdicts.popitem(last=False)
        return pixels[: len(jobs)]

    def _take_lever(self, error: Exception) -> None:
        """Make the pipeline take less memory after it ran out.

        Raises:
            UsageError: There is nothing left that would.
        """
        give_back_freed_memory()
        more = self._opened.pulled()
        if more is None:
            raise UsageError(
                f"memory ran out, with all that makes it less"
                f" ({'; '.join(self._opened.levers.names) or 'nothing'}): make the"
                " images smaller, rows fewer, or take a smaller model"
            ) from error
        self._opened = more
        _log.warning("memory ran out; from here on: %s", "; ".join(more.levers.names))

    def _verdict(self, job: Job) -> bool:
        """Return whether an image was flagged; it is made again if it is not known."""
        key = job.sha256()
        if key not in self._verdicts:
            self._make([job])
        return self._verdicts[key]


def _runs(jobs: Sequence[Job], rows: int) -> list[tuple[int, int]]:
    """Return where each run of at most ``rows`` jobs that go together is."""
    found: list[tuple[int, int]] = []
    start = 0
    for i in range(1, len(jobs) + 1):
        full = i - start == rows
        if i == len(jobs) or full or jobs[i].alike != jobs[start].alike:
            found.append((start, i))
            start = i
    return found


def _classes(given: Any) -> tuple[str, ...]:  # noqa: ANN401  # checked
    if isinstance(given, str) or not all(isinstance(one, str) and one for one in given):
        raise UsageError(f"classes must be names, got {given!r:.80}")
    if len(set(given)) != len(given):
        raise UsageError(f"classes must be different names, got {list(given)!s:.160}")
    return tuple(given)
