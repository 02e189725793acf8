"""A pool: synthetic samples as a data set, each with where it comes from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from fiberaug.decode.text import parse_json
from fiberaug.errors import DataRefused, UsageError
from fiberaug.jobs.describing import image_extension
from fiberaug.jobs.encoding import ENCODINGS
from fiberaug.shards.manifest import Manifest, ShardEntry
from fiberaug.shards.reader import ShardFile, ShardRef
from fiberaug.synthetic.asking import PerClass
from fiberaug.synthetic.generator import ImageGenerator
from fiberaug.synthetic.making import Classify
from fiberaug.synthetic.options import PoolOptions
from fiberaug.synthetic.place import Place
from fiberaug.synthetic.poolfile import PoolFile, read_pool_file
from fiberaug.synthetic.provenance import FIELD, Provenance
from fiberaug.synthetic.writing import write_pool

__all__ = ["ParentOf", "Pool", "provenance_of", "shard_of"]


class ParentOf(NamedTuple):
    """A sample of the data that one of the pool was made from."""

    shard: str | None
    """File name of its shard."""

    key: str
    split: str | None
    """The part of the data that it is of."""


@dataclass(frozen=True)
class Pool:
    """A folder of synthetic samples; :meth:`write` makes one, :meth:`open` opens it.

    ``fiberaug.StreamingDataset(pool.path)`` reads it as any data set.
    """

    path: Path
    """The folder."""

    file: PoolFile
    """What ``pool.json`` says."""

    manifest: Manifest
    """What ``dataset.json`` says."""

    @classmethod
    def write(
        cls,
        generator: ImageGenerator | Callable[[], ImageGenerator],
        dst: str | Path,
        *,
        per_class: PerClass | None = None,
        count: int | None = None,
        classes: Sequence[str] | None = None,
        seed: int = 0,
        batch_size: int = 16,
        processes: int = 1,
        encoding: str = "png",
        shard_size: int | str = "256MB",
        dedupe: bool = True,
        filter: Classify | None = None,  # noqa: A002  # what it is
        threshold: float | None = None,
        against: object = None,
        split: str | None = None,
        conditions: Mapping[str, Any] | None = None,
        licence: str | None = None,
        progress: bool = True,
    ) -> Self:
        """Write a pool and return it.

        A sample's seed is a function of ``seed``, its class and its number in it. So
        the pool is the same for any ``batch_size`` and ``processes``, and a call that
        was killed goes on where it was when it is made again: as long as the generator
        gives the same image for the same seed in any batch. That is tried with a few
        samples, noted in ``pool.json`` and warned of.

        A sample that is refused is replaced by the next of its class, until four times
        as many were made as are asked for.

        Args:
            generator: Makes the images; or a function without arguments that makes the
                generator, which each process then calls for itself.
            dst: A new folder, or one that the same call has begun.
            per_class: Samples of each class; or of each that is named, by name or id.
            count: In place of it: samples in all, spread evenly over the classes.
            classes: Names of the classes to make. None: all.
            seed: Seed of the pool, in [0, 2**64).
            batch_size: Samples that the generator makes at a time.
            processes: Of this machine, each with the generator in it.
            encoding: ``png`` or ``webp``, without loss, or ``jpeg`` of quality 95.
            shard_size: Size of a shard, such as ``"256MB"``.
            dedupe: Refuse a sample with the very pixels of one that was taken before.
            filter: (images uint8 [N, H, W, C], labels int64 [N]) -> confidence that
                each shows its label, [N] from 0 to 1.
            threshold: Least confidence. None: 1 / number of classes, at most 0.5.
            against: Training data, as ``StreamingDataset`` takes it: samples with the
                pixels or nearly the looks of one of them are refused.
            split: Part of the data that parents are of, where the generator does not
                say.
            conditions: Passed to the generator by name, such as ``{"guidance": 2.0}``.
            licence: Of the samples. None: as the generator says.
            progress: Show a bar on a terminal.

        Raises:
            UsageError: An argument is out of range, the generator returned something
                else than it must, or the folder holds another pool: what differs is
                named.
            DataRefused: No sample was taken.
            StoreError: The disk is full or gone; the same call goes on.
            WorkerDied: A process was ended from outside; the same call goes on.
        """
        options = PoolOptions(
            per_class=per_class, count=count, classes=classes, seed=seed,
            batch_size=batch_size, processes=processes, encoding=encoding,
            shard_size=shard_size, dedupe=dedupe, filter=filter, threshold=threshold,
            against=against, split=split, conditions=dict(conditions or {}),
            licence=licence, progress=progress,
        )  # fmt: skip
        write_pool(generator, dst, options)
        return cls.open(dst)

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Return the pool of a folder.

        Raises:
            UsageError: There is no such folder.
            DataRefused: It is unfinished, no pool, broken, or of a newer release.
            StoreError: It cannot be read.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder; a pool is one with a pool.json")
        Place(folder).check_finished()
        file = read_pool_file(folder)
        assert file is not None  # noqa: S101  # for the type: it was there just now
        return cls(folder, file, Manifest.read(folder))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label; empty: labels are numbers, or there are none."""
        return tuple(self.manifest.classes)

    @property
    def counts(self) -> dict[str, int]:
        """Samples of each class, by name; of a pool without labels: of ``"0"``."""
        return {name: told["accepted"] for name, told in self.file.counts.items()}

    @property
    def size(self) -> tuple[int, int]:
        """Native height and width of the images, px."""
        return self.file.size["height"], self.file.size["width"]

    @property
    def encoding(self) -> str:
        """``png``, ``webp`` or ``jpeg``: of the first sample."""
        fields = shard_of(self, self.manifest.shards[0]).index.fields(0)
        extension = image_extension([field.extension for field in fields])
        named = {extension: name for name, extension in ENCODINGS.items()}
        return named.get(extension or "", str(extension))

    @property
    def seed(self) -> int:
        """Seed of the pool."""
        return int(self.file.asked.get("seed", 0))

    @property
    def generator(self) -> Mapping[str, Any]:
        """What the generator said of itself."""
        return self.file.generator

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.manifest.samples

    def samples(self) -> Iterator[tuple[str, int | None, Provenance]]:
        """Yield key, label (None: it has none) and provenance of each sample.

        Raises:
            DataRefused: A shard is damaged, or a sample has no sound provenance.
            StoreError: A shard cannot be read.
        """
        for entry in self.manifest.shards:
            shard = shard_of(self, entry)
            labels = shard.index.columns["label"].tolist()
            for i, label in enumerate(labels):
                key = shard.index.key(i)
                stated = provenance_of(shard.read(i).get("json"), entry.name, key)
                yield key, label if label >= 0 else None, stated

    def parents(self) -> Iterator[ParentOf]:
        """Yield the samples of the data that samples of the pool were made from.

        One that has several children comes several times.

        Raises:
            DataRefused: See :meth:`samples`.
            StoreError: See :meth:`samples`.
        """
        if not self.file.parents.get("samples"):
            return
        for _, _, stated in self.samples():
            for parent in stated.parents:
                yield ParentOf(parent.shard, parent.key, parent.split)


def shard_of(pool: Pool, entry: ShardEntry) -> ShardFile:
    """Return a shard of a pool, open.

    Raises:
        ShardDamaged: It or its index is damaged.
        StoreError: It cannot be read.
    """
    path = str(pool.path / entry.name)
    return ShardFile(ShardRef(path=path, index=f"{path}.idx", samples=entry.samples))


def provenance_of(member: memoryview | None, shard: str, key: str) -> Provenance:
    """Return what a sample's JSON member says of where it comes from.

    Args:
        member: The member.
        shard: File name of the shard, for errors.
        key: Of the sample, for errors.

    Raises:
        DataRefused: It says nothing, or nothing sound.
    """
    try:
        told: Any = parse_json(member or b"")
        return Provenance.from_dict(told[FIELD])
    except (DataRefused, UsageError, KeyError, TypeError) as error:
        raise DataRefused(
            f"the sample has no sound provenance: {error}", shard=shard, key=key
        ) from None
