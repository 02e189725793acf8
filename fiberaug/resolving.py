"""From what a loader and a recipe say of batches to the stage that does it."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fiberaug.errors import UsageError
from fiberaug.mixes.base import Mix
from fiberaug.record import RecordContext
from fiberaug.staging import BatchStage

if TYPE_CHECKING:
    from fiberaug.dataset import StreamingDataset
    from fiberaug.gpu.operation import Operation

__all__ = [
    "context_with",
    "manifest_with",
    "normalization",
    "recipe_with",
    "resolve_stage",
]

_POINTS = ("bboxes", "keypoints", "polygons")
_MASKS = ("mask", "masks")
_ARGUMENTS = {"gpu": "gpu_transform", "batch": "batch_transform"}


def resolve_stage(
    dataset: "StreamingDataset",
    gpu_transform: Any,  # noqa: ANN401  # see fiberaug.DataLoader
    batch_transform: Any,  # noqa: ANN401  # see fiberaug.DataLoader
    *,
    stacks: bool,
    fused: bool | str = True,
) -> BatchStage | None:
    """Return what is done to the batches of a loader, or None for nothing.

    Args:
        dataset: The data set; its recipe may have the sections ``gpu`` and ``batch``.
        gpu_transform: See :class:`fiberaug.DataLoader`.
        batch_transform: See :class:`fiberaug.DataLoader`.
        stacks: Whether batches are stacked, without a function of the user's.
        fused: See :class:`fiberaug.DataLoader`.

    Raises:
        UsageError: A section is given twice, cannot be understood, or does not fit the
            data set.
    """
    given = {"gpu": gpu_transform, "batch": batch_transform}
    for name, section in dataset.sections.items():
        if given[name] is not None:
            raise UsageError(
                f"the section {name} is given twice: by the recipe, and as"
                f" {_ARGUMENTS[name]}={given[name]!r:.80}; leave one out"
            )
        given[name] = section
    if all(value is None for value in given.values()):
        return None
    if not stacks:
        raise UsageError(
            "gpu_transform and batch_transform work on stacked batches: leave"
            " collate_fn and collate= out, and end the transform with a crop or resize"
        )
    stage = _stage(dataset, given, fused=fused)
    if stage.program is None and not stage.mixes:
        return None
    _check(dataset, stage)
    return stage


def _stage(
    dataset: "StreamingDataset", given: Mapping[str, Any], *, fused: bool | str
) -> BatchStage:
    from fiberaug.gpu.program import Program  # noqa: PLC0415
    from fiberaug.mixes.building import build_mixes  # noqa: PLC0415

    plan, program = dataset.plan, None
    mixes = () if given["batch"] is None else given["batch"]
    mixes = [mixes] if isinstance(mixes, Mix) else mixes
    if given["gpu"] is not None:
        operations = _operations(given["gpu"])
        if operations:
            program = Program(
                operations, unit=plan.unit, seed=plan.seed, fused=fused,
                normalize=normalization(dataset),
            )  # fmt: skip
    return BatchStage(
        program=program,
        mixes=build_mixes(mixes),
        unit=plan.unit,
        seed=plan.seed,
        first_leaf=len(dataset.context(0).leaves),
        classes=len(dataset.classes),
        kinds=dict(dataset.setup.decoder.kinds),
    )


def normalization(
    dataset: "StreamingDataset",
) -> tuple[list[float], list[float]] | None:
    """Return (mean, std) of the last Normalize, of pixels in [0, 1], or None."""
    for operation in dataset.context(0).constant:
        params = operation["params"]
        if "mean" in params:
            scale = params["max_pixel_value"] / 255
            mean, std = (np.atleast_1d(params[n]) * scale for n in ("mean", "std"))
            return mean.tolist(), std.tolist()
    return None


def _operations(given: Any) -> "list[tuple[str, Operation]]":  # noqa: ANN401
    """Return operations with their paths, of a section or of objects."""
    from fiberaug.gpu.building import build_gpu, operations_of  # noqa: PLC0415  # 2 s

    section = isinstance(given, list | tuple) and all(
        isinstance(operation, Mapping) for operation in given
    )
    if section:
        operations = build_gpu(given)
    else:
        operations = [operation for _, operation in operations_of(given)]
    # Numbers, however they are nested: a run folder has them in a row. Copies: what
    # the user changes later would be drawn under the name of what was given.
    return [(str(i), copy.deepcopy(op)) for i, op in enumerate(operations)]


def _check(dataset: "StreamingDataset", stage: BatchStage) -> None:
    kinds = {dataset.setup.decoder.kinds.get(s.name, s.name) for s in dataset.specs}
    if stage.mixes and not dataset.train:
        names = [mix.name for mix in stage.mixes]
        raise UsageError(f"{names} are for training, the data set has train=False")
    for mix in stage.mixes:
        mix.check([spec.name for spec in dataset.specs], stage.kinds)
    if stage.program is None:
        return
    images = sorted(n for n, kind in stage.kinds.items() if kind == "image")
    if stage.program.moves and images:
        raise UsageError(
            f"gpu_transform moves the pixels of 'image', and those of {images} would"
            " stay: leave out what moves pixels, or these fields"
        )
    for (path, name), operation in zip(
        stage.program.leaves, stage.program.operations, strict=True
    ):
        for fields, reason in (
            (kinds.intersection(_POINTS), operation.loses_points),
            (kinds.intersection(_MASKS), operation.loses_masks),
        ):
            if fields and reason is not None:
                raise UsageError(
                    f"{path} {name} cannot take {sorted(fields)} along: {reason}; leave"
                    " it or these fields out"
                )


def recipe_with(dataset: "StreamingDataset", stage: BatchStage | None) -> str:
    """Return the hash of all that pixels depend on: the data set's, and the stage's."""
    if stage is None:
        return dataset.recipe_hash
    return f"{dataset.recipe_hash}+{stage.digest}"


def context_with(
    dataset: "StreamingDataset", stage: BatchStage | None
) -> RecordContext:
    """Return what all records of a loader share, of epoch 0."""
    context = dataset.context(0)
    if stage is None:
        return context
    leaves = (*context.leaves, *stage.leaves)
    last = [i for i, mix in enumerate(stage.mixes) if mix.phase == "blend"]
    recipe = recipe_with(dataset, stage)
    replayable = context.replayable and stage.why_not_replayable is None
    return replace(
        context,
        leaves=leaves,
        recipe=recipe,
        replayable=replayable,
        last=stage.first_leaf + last[0] if last else None,
    )


def manifest_with(
    dataset: "StreamingDataset", stage: BatchStage | None
) -> dict[str, Any]:
    """Return the manifest of a run, with the sections of its loader."""
    manifest = dataset.manifest()
    if stage is not None:
        manifest["recipe"] = {**manifest["recipe"], **stage.identity}
    return manifest
