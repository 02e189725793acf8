"""From what a user gives to a source of photos in files: parts, labels, passes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fiberaug.dataset import StreamingDataset
from fiberaug.errors import DataRefused, UsageError
from fiberaug.training.feeding_arrays import check_batch
from fiberaug.training.feeding_captions import caption_numbers, captioned_fields
from fiberaug.training.feeding_dataset import (
    FIELDS,
    Opened,
    open_dataset,
    part_of,
    remade,
    with_crop,
)
from fiberaug.training.feeding_labels import class_names
from fiberaug.training.feeding_shards import FixedPhotos, ShardSource
from fiberaug.training.feeding_table import Table
from fiberaug.training.holding import held_share
from fiberaug.training.windows import Crop

__all__ = ["prepare_shards"]

_LEAST_EPOCH = 65_536  # positions: workers pause between epochs


class _Divided(NamedTuple):
    train: Table
    held: Table | None
    subset: str | None
    """The condition that the photos to train on meet; None: all do."""
    note: str | None = None


def prepare_shards(
    data: Any,  # noqa: ANN401  # see open_source
    *,
    crop_of: Callable[[NDArray[np.int64]], Crop],
    batch_size: int,
    channels: int = 3,
    conditional: bool | None = None,
    classes: Sequence[str] = (),
    seed: int = 0,
    held_out: float = 0.1,
    num_workers: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
    index_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    captioned: bool = False,
) -> ShardSource:
    """Return the source of photos in files; see ``open_source``.

    Args:
        data: See :func:`fiberaug.training.feeding.open_source`, as all others.
        crop_of: A function of photos' sizes, int64 [n, 2], that says how to cut them.
        batch_size: See there.
        channels: See there.
        conditional: See there.
        classes: See there.
        seed: See there.
        held_out: See there.
        num_workers: See there.
        rank: See there.
        world_size: See there.
        index_dir: See there.
        cache_dir: See there.
        captioned: See there.

    Raises:
        UsageError: See there.
        DataRefused: See there.
        StoreError: See there.
    """
    check_batch(batch_size)
    opened = open_dataset(
        data, channels=channels, index_dir=index_dir, cache_dir=cache_dir
    )
    base, whole = opened.base, Table.of(opened.base)
    if not len(whole):
        raise DataRefused("there is no photo to train on: the shards hold no sample")
    if captioned:
        if opened.apart is not None:
            held_out = 0.0  # what a conversion put apart stays apart
        classes, numbers = caption_numbers(base, whole)
        whole, labelled, odd = replace(whole, labels=numbers), True, None
    else:
        labelled, odd = _is_conditional(base, whole.labels, asked=conditional)
    divided = _divide(opened, whole, held_out)
    train, held = divided.train, divided.held
    names = class_names(
        _all_labels(train, held) if labelled else None, classes or base.classes
    )
    crop = crop_of(train.known_sizes())
    common: dict[str, Any] = {"rank": rank, "world_size": world_size}
    if not opened.own or base.pipeline is None:
        common["fields"] = _fields(base, labelled=labelled)
    if captioned:
        common["fields"] = captioned_fields(base)
    dealt = remade(
        base, seed=seed, train=True, shuffle=None,
        record="none" if crop.scales is None else "packed",
        **({} if divided.subset is None else {"subset": divided.subset}),
        **_passes(base, len(train), batch_size), **common, **with_crop(base, crop),
    )  # fmt: skip
    if batch_size % dealt.world_size:
        raise UsageError(
            f"batch_size must be a multiple of the number of ranks, {dealt.world_size},"
            f" got {batch_size}"
        )

    def of_figures(dataset: StreamingDataset, table: Table) -> FixedPhotos:
        """Return photos of a data set that figures are taken of."""
        cut = with_crop(dataset, crop.for_figures())
        made = remade(dataset, record="packed", **common, **cut)
        return FixedPhotos(dataset=made, table=table, captioned=captioned)

    return ShardSource(
        dealt, train=of_figures(base, train),
        held=None if held is None else of_figures(opened.apart or base, held),
        crop=crop, classes=names, captioned=captioned, batch_size=batch_size,
        num_workers=num_workers,
        notes=[note for note in (odd, divided.note) if note is not None],
    )  # fmt: skip


def _is_conditional(
    base: StreamingDataset, labels: NDArray[np.int64], *, asked: bool | None
) -> tuple[bool, str | None]:
    """Return whether labels go along, and what a user should know of that.

    Raises:
        UsageError: They are asked for, and some photos have none.
    """
    if asked is False:
        return False, None
    missing = int((labels < 0).sum())
    if all(spec.name != "label" for spec in base.specs):
        missing = len(labels)
    if not missing:
        return True, None
    if asked:
        raise UsageError(
            "training by class needs a class id as label of each photo, and"
            f" {missing:,} of {len(labels):,} have none: convert a folder with one"
            " folder for each class, give each sample a .cls, or train without classes:"
            " conditional=False, and networks made for none"
        )
    if missing == len(labels) and all(spec.name != "label" for spec in base.specs):
        return False, None
    if missing == len(labels):
        return False, (
            f"no label of the {missing:,} photos is a class id, an integer, so that the"
            " generator is trained without classes; `fiberaug convert` of one folder"
            " for each class numbers them"
        )
    return False, (
        f"{missing:,} of {len(labels):,} photos have no label, so that the generator is"
        ' trained without classes; subset="label >= 0" of a StreamingDataset takes'
        " those that have one"
    )


def _divide(opened: Opened, whole: Table, share: float) -> _Divided:
    """Return the photos to train on and those that are held out."""
    wanted, share = share, held_share(share, len(whole))
    if opened.apart is not None and wanted:
        held = Table.of(opened.apart)
        return _Divided(whole, held if len(held) else None, None)
    if not share:
        return _Divided(whole, None, None)
    found = part_of(opened.base, share)
    if found is None:
        return _Divided(
            whole, None, None,
            "no photo is held out: the data set's subset is no condition; held-out"
            ' figures need one, or a fraction by split=("train", 0.9)',
        )  # fmt: skip
    first, condition = found
    held = whole[whole.split >= first]
    if not 0 < len(held) < len(whole):
        return _Divided(whole, None, None)
    return _Divided(whole[whole.split < first], held, condition)


def _all_labels(train: Table, held: Table | None) -> NDArray[np.int64]:
    if held is None:
        return train.labels
    return np.concatenate([train.labels, held.labels])


def _fields(base: StreamingDataset, *, labelled: bool) -> dict[str, str]:
    """Return the mapping of what is trained on: nothing else is read or decoded."""
    wanted = FIELDS if labelled else FIELDS[:1]
    return {
        f"{spec.name}{'?' * spec.optional}": str(spec)
        for spec in base.specs
        if spec.name in wanted
    }


def _passes(base: StreamingDataset, photos: int, batch_size: int) -> dict[str, Any]:
    """Return ``epoch_size`` in whole batches, and ``max_errors`` as for one pass."""
    positions = max(photos, _LEAST_EPOCH)
    positions = -(-positions // batch_size) * batch_size
    allowed = base.max_errors * min(1.0, photos / positions)
    return {"epoch_size": positions, "max_errors": allowed}
