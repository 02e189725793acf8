"""NVIDIA DALI on the CPU: its own reader, decoder and operations, two threads.

The crop is drawn before decoding and only its part of the JPEG is decoded
(``decoders.image_random_crop``). Batches are handed out without a copy.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import contract
import numpy as np
from nvidia.dali import fn, pipeline_def, types

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pipeline_def(enable_conditionals=True)
def _photos(shards: list[str], indices: list[str], *, heavy: bool):  # DALI's nodes
    data, label = fn.readers.webdataset(
        paths=shards, index_paths=indices, ext=["jpg", "cls"], random_shuffle=True,
        initial_fill=1000, missing_component_behavior="error", name="reader",
        dont_use_mmap=False,
    )  # fmt: skip
    image = fn.decoders.image_random_crop(
        data, output_type=types.RGB, random_area=[0.08, 1.0],
        random_aspect_ratio=[3 / 4, 4 / 3], num_attempts=10,
    )  # fmt: skip
    image = fn.resize(
        image, size=(224, 224), interp_type=types.INTERP_LINEAR, antialias=False
    )
    if heavy:
        if fn.random.coin_flip(probability=0.8, dtype=types.BOOL):
            image = fn.color_twist(
                image,
                brightness=fn.random.uniform(range=[0.6, 1.4]),
                contrast=fn.random.uniform(range=[0.6, 1.4]),
                saturation=fn.random.uniform(range=[0.6, 1.4]),
                hue=fn.random.uniform(range=[-36.0, 36.0]),
            )
        if fn.random.coin_flip(probability=0.5, dtype=types.BOOL):
            image = fn.gaussian_blur(image, sigma=fn.random.uniform(range=[0.1, 2.0]))
        if fn.random.coin_flip(probability=0.2, dtype=types.BOOL):
            image = fn.saturation(image, saturation=0.0)
    image = fn.crop_mirror_normalize(
        image, dtype=types.FLOAT, output_layout="CHW", mirror=fn.random.coin_flip(),
        mean=[255 * value for value in MEAN], std=[255 * value for value in STD],
    )  # fmt: skip
    return image, fn.pad(label, fill_value=32)  # texts of one length


class _Loader:
    def __init__(self, job: contract.Job) -> None:
        folder = job.converted("dali")
        self._pipeline = _photos(
            job.shards,
            [str(folder / f"{n}.idx") for n in range(len(job.shards))],
            heavy=job.work == "heavy",
            batch_size=job.batch,
            num_threads=job.workers,
            device_id=None,
            seed=0,
        )
        self._pipeline.build()
        self._batches = -(-self._pipeline.epoch_size("reader") // job.batch)

    def epoch(self) -> Iterator[Mapping[str, Any]]:
        for _ in range(self._batches):
            image, label = self._pipeline.run()
            texts = np.asarray(label.as_tensor())
            yield {
                "image": np.asarray(image.as_tensor()),
                "label": [int(bytes(text)) for text in texts],
            }

    def close(self) -> None:
        pass


def _open(job: contract.Job) -> contract.Loader:
    if job.work == "detection":
        raise contract.Absent("no box-safe crop over shards with boxes in JSON")
    return _Loader(job)


def _prepare(job: contract.Job) -> None:
    """Write what DALI's own ``wds2idx`` writes: offsets and sizes of members."""
    from wds2idx import IndexCreator  # noqa: PLC0415  # a script that DALI installs

    folder = job.converted("dali")
    folder.mkdir(exist_ok=True)
    for number, shard in enumerate(job.shards):
        with IndexCreator(shard, str(folder / f"{number}.idx"), verbose=False) as index:
            index.create_index()


if __name__ == "__main__":
    contract.main(_open, _prepare)
