"""Loaders as users write them, right ones and ones with a planted error.

``fiberaug doctor --against user_loaders:plain``; the shards are ``USER_SHARDS``, the
folder of images is ``USER_FOLDER``.
"""

import itertools
import os
from functools import partial
from pathlib import Path

import albumentations as A
import cv2
import numpy as np
import torch
import webdataset

BATCH = 8


def _shards():
    return sorted(map(str, Path(os.environ["USER_SHARDS"]).glob("*.tar")))


def _pipeline(augment, *tail):
    crop = [A.RandomResizedCrop((24, 24)), A.HorizontalFlip()] if augment else []
    return A.Compose([*crop, *tail])


def _decoded(sample, flags=cv2.IMREAD_COLOR_RGB):
    data = sample.get("jpg", sample.get("png"))
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def _work(sample, pipe, flags=cv2.IMREAD_COLOR_RGB, shift=0, layout=(2, 0, 1)):
    image = pipe(image=_decoded(sample, flags))["image"]
    return {
        "__key__": sample["__key__"],
        "image": torch.from_numpy(image.transpose(layout).copy()),
        "label": int(sample["cls"]) + shift,
    }


def _collated(rows):
    """As torch's, but images of different sizes stay a list."""
    images = [row["image"] for row in rows]
    stack = len({image.shape for image in images}) == 1
    return {
        "__key__": [row["__key__"] for row in rows],
        "image": torch.stack(images) if stack else images,
        "label": torch.tensor([row["label"] for row in rows]),
    }


def _loader(augment, *tail, stages=(), workers=0, **options):
    dataset = webdataset.WebDataset(
        _shards(), shardshuffle=False, empty_check=False, workersplitter=_split
    )
    dataset = dataset.map(partial(_work, pipe=_pipeline(augment, *tail), **options))
    for stage in stages:
        dataset = dataset.compose(stage)
    return torch.utils.data.DataLoader(
        dataset, batch_size=BATCH, num_workers=workers, collate_fn=_collated
    )


def _split(urls):
    return webdataset.split_by_worker(urls)


def plain(*, augment=True):
    return _loader(augment)


def with_workers(*, augment=True):
    return _loader(augment, workers=2)


def channels_last(*, augment=True):
    return _loader(augment, layout=(0, 1, 2))


def normalized(*, augment=True):
    return _loader(augment, A.Normalize())


def normalized_otherwise(*, augment=True):
    return _loader(augment, A.Normalize(mean=(0.5,) * 3, std=(0.25,) * 3))


class Brighter(A.ImageOnlyTransform):
    """Adds two levels to every pixel, after normalisation."""

    def apply(self, img, **_):
        return img + np.float32(2 / 255 / 0.225)


def brighter(*, augment=True):
    return _loader(augment, A.Normalize(), Brighter(p=1))


class Wavering(A.ImageOnlyTransform):
    """Dims each image by a factor of its own; nothing is clipped, all stays a line."""

    def apply(self, img, **_):
        return np.float32(img) * np.float32(0.6 + 0.4 * (int(img.sum()) % 8) / 8)


def wavering(*, augment=True):
    return _loader(augment, Wavering(p=1))


def labels_from_one(*, augment=True):
    return _loader(augment, shift=1)


def split_twice(*, augment=True):
    return _loader(augment, stages=[lambda rows: itertools.islice(rows, 0, None, 2)])


def repeated(*, augment=True):
    return _loader(augment, stages=[lambda rows: itertools.chain.from_iterable(
        [row, row] if i == 3 else [row] for i, row in enumerate(rows)
    )])  # fmt: skip


def bgr(*, augment=True):
    return _loader(augment, flags=cv2.IMREAD_COLOR_BGR)


def not_upright(*, augment=True):
    return _loader(augment, flags=cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)


def small(*, augment=True):
    return _loader(augment, A.Resize(20, 24))


def always_augmented():
    return _loader(augment=True)


def without_keys(*, augment=True):
    for batch in plain(augment=augment):
        yield batch["image"], batch["label"] + 1


def pair(*, augment=True):
    loader = plain(augment=augment)
    return loader.dataset, loader


def raising(*, augment=True):
    yield from itertools.islice(plain(augment=augment), 1)
    raise RuntimeError("no more shards")


def accelerated(*, augment=True):
    from accelerate import Accelerator
    from accelerate.utils import DataLoaderConfiguration

    config = DataLoaderConfiguration(dispatch_batches=False)  # else keys are refused
    return Accelerator(cpu=True, dataloader_config=config).prepare(
        plain(augment=augment)
    )


class Folder(torch.utils.data.Dataset):
    """An image folder that gives (image, label, path)."""

    def __init__(self, augment):
        self.paths = sorted(Path(os.environ["USER_FOLDER"]).rglob("*.jpg"))
        self.classes = sorted({path.parent.name for path in self.paths})
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        self.pipe = _pipeline(augment, A.Resize(40, 40))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        image = cv2.imread(str(self.paths[i]), cv2.IMREAD_COLOR_RGB)
        image = self.pipe(image=image)["image"].transpose(2, 0, 1).copy()
        name = self.paths[i].parent.name
        return torch.from_numpy(image), self.class_to_idx[name], str(self.paths[i])


def folder(*, augment=True):
    return torch.utils.data.DataLoader(Folder(augment), batch_size=BATCH, shuffle=True)


not_callable = 3


def nothing():
    return 7
