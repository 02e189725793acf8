"""Loaders with batch operations and mixes, and what they deliver, for tests."""

import albumentations as A
import kornia.augmentation as K

import fiberaug

CROP = (32, 24)


def operations():
    """Operations of all kinds: joined, of a unit, moving pixels, with a gate."""
    return [
        K.RandomHorizontalFlip(p=0.5),
        K.RandomAffine(20, translate=(0.1, 0.1), p=0.7),
        K.ColorJiggle(0.3, 0.3, 0.3, 0.1, p=0.8),
        K.RandomGrayscale(p=0.3),
        K.RandomErasing(p=0.5),
    ]


def loader(
    shards, batch_size, *, num_workers=0, cpu=None, gpu=None, mixes=None, fused=True,
    **data,
):  # fmt: skip
    """A loader that crops to CROP on the CPU, with ``operations`` where not told."""
    pipeline = [A.RandomResizedCrop(CROP), A.Normalize()] if cpu is None else cpu
    dataset = fiberaug.StreamingDataset(
        shards, transform=A.Compose(pipeline), **{"seed": 3, **data}
    )
    return fiberaug.DataLoader(
        dataset,
        batch_size,
        num_workers=num_workers,
        gpu_transform=operations() if gpu is None else gpu,
        batch_transform=mixes,
        fused=fused,
    )


def rows(batches, fields=("image",)):
    """Position to (record, fields) of all rows that are not padding."""
    found = {}
    for batch in batches:
        for row, record in enumerate(batch["record"]):
            if not batch["is_pad"][row]:
                first = record[0] if isinstance(record, list) else record  # of views
                assert first.position not in found
                content = [batch[name][row] for name in fields]
                found[first.position] = (record, content)
    return found
