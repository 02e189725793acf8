"""``materialize``: the samples that a loader would stream, as shards of their own."""

from pathlib import Path
from typing import Any

from fiberaug.baking.materialization import Materialization
from fiberaug.baking.options import BakeOptions, parse_epochs
from fiberaug.baking.remaining import divide, rest_of
from fiberaug.dataset import StreamingDataset
from fiberaug.engine import Engine
from fiberaug.errors import UsageError
from fiberaug.jobs.stores import store_of
from fiberaug.shards.manifest import Manifest
from fiberaug.sizes import parse_bytes

__all__ = ["materialize", "plan_materialization"]

_NOT_OURS = ("transform", "rank", "world_size", "batch_size")
_NOT_OF_PREFIX = ("shuffle", "train", "balance", "epoch_size", "tile", "views")


def plan_materialization(
    shards: Any,  # noqa: ANN401  # as StreamingDataset takes them, or one
    dst: str | Path,
    *,
    bake: BakeOptions,
    recipe: Any = None,  # noqa: ANN401  # as StreamingDataset takes a transform
    epochs: Any = None,  # noqa: ANN401  # see parse_epochs
    seed: int | None = None,
    prefix: bool = False,
    **options: Any,  # noqa: ANN401  # of StreamingDataset, which refuses unknown ones
) -> Materialization:
    """Return a bake that is planned and not yet run; see :func:`materialize`.

    Raises:
        UsageError: An argument is out of range or does not fit the others.
    """
    store = store_of(dst)
    for name in _NOT_OURS:
        if name in options:
            raise UsageError(f"{name} is not for a bake, which has all positions")
    ready = isinstance(shards, StreamingDataset)
    if ready and (recipe is not None or seed is not None or options or prefix):
        raise UsageError(
            "a ready StreamingDataset has its recipe, seed and options already, and its"
            " beginning cannot be taken off: give the shards instead"
        )
    if prefix:
        given = [name for name in _NOT_OF_PREFIX if name in options]
        if epochs is not None or given:
            raise UsageError(
                "prefix bakes one copy of every sample under its own key:"
                f" {'epochs' if epochs is not None else given[0]} does not go with it"
            )
        divided = divide(recipe)
        dataset = StreamingDataset(
            shards, transform=divided.done, train=False, seed=seed or 0, **options
        )
        return Materialization(
            dataset=dataset, store=store, options=bake, epochs=range(1),
            rest=divided.rest, prefix=True, done=divided.done, why=divided.why,
        )  # fmt: skip
    dataset = shards
    if not ready:
        dataset = StreamingDataset(shards, transform=recipe, seed=seed or 0, **options)
    dataset.refuse_sections("materialize")
    wanted = parse_epochs(0 if epochs is None else epochs)
    if not dataset.train and wanted != range(1):
        raise UsageError(
            f"an evaluation has epoch 0 alone, got epochs {wanted[0]} to {wanted[-1]}"
        )
    return Materialization(
        dataset=dataset, store=store, options=bake, epochs=wanted,
        rest=rest_of(Engine(dataset.setup).finish),
    )  # fmt: skip


def materialize(
    shards: Any,  # noqa: ANN401  # see the docstring
    dst: str | Path,
    *,
    recipe: Any = None,  # noqa: ANN401  # see the docstring
    epochs: Any = None,  # noqa: ANN401  # see the docstring
    seed: int | None = None,
    workers: int | None = None,
    shard_size: int | str = "256MB",
    encode: str = "png",
    quality: int = 90,
    seekable: bool = False,
    engine: str = "local",
    prefix: bool = False,
    progress: bool = True,
    **options: Any,  # noqa: ANN401  # of StreamingDataset, which refuses unknown ones
) -> Manifest:
    """Write the samples that a loader would stream, with their records, as shards.

    Read with ``shuffle=False``, the set gives the stream of these epochs sample by
    sample: pixels, labels, boxes, masks and all other fields are equal, and the field
    ``baked_record`` is the record of each. A trailing ``Normalize`` is not baked:
    ``StreamingDataset(dst, transform="dst/recipe.yaml")`` does what is left to do.

    The bytes do not depend on ``workers`` or ``engine``. A call that was interrupted,
    however it ended, goes on where it was when it is made again. Broken samples are
    replaced or left out as the loader would, and listed in
    ``materialize_errors.jsonl``. Returned is the content of ``dataset.json``.

    Args:
        shards: As :class:`fiberaug.StreamingDataset` takes them, or a ready one.
        dst: Folder for the shards, or ``s3://``.
        recipe: Transform, :class:`fiberaug.Recipe` or the path of a recipe file.
        epochs: ``"A-B"`` or (A, B), both included, or one number. None: epoch 0.
        seed: Seed of order and augmentation. None: 0.
        workers: Processes. None: one for each core.
        shard_size: Size of a shard, such as ``"256MB"``, as far as the first samples
            tell.
        encode: ``png``, or ``webp`` (a fifth to a third smaller), without loss; or
            ``jpeg``, which changes the pixels.
        quality: Of JPEG, 1 to 100.
        seekable: Write restart markers into JPEGs, so that crops are cut out of their
            bytes: see ``docs/seekable.md``.
        engine: ``local`` processes, or ``ray``.
        prefix: Bake only the beginning of the recipe that draws nothing, each sample
            once under its own key; ``recipe.yaml`` has the rest.
        progress: Show a bar on a terminal.
        options: Of :class:`fiberaug.StreamingDataset`: ``fields``, ``split``,
            ``subset``, ``balance``, ``epoch_size``, ``tile``, ``views``, ``train``, ...

    Raises:
        UsageError: An argument is out of range, ``dst`` holds something else, or a
            sample cannot be stored so that it streams back equal.
        DataRefused: A sample is broken and ``on_error`` is ``raise``, or too many are.
        StoreError: The disk is full or gone.
    """
    bake = BakeOptions(
        shard_size=parse_bytes(shard_size, name="shard_size"), encode=encode,
        quality=quality, seekable=seekable, workers=workers, engine=engine,
        progress=progress,
    )  # fmt: skip
    return plan_materialization(
        shards, dst, bake=bake, recipe=recipe, epochs=epochs, seed=seed, prefix=prefix,
        **options,
    ).run()  # fmt: skip
