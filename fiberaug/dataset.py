"""A data set of tar shards: what is in it, in which order, and how a sample is made."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset

from fiberaug.budget import SharedBudget
from fiberaug.checks import check_arguments
from fiberaug.collate import RAGGED, Collate
from fiberaug.decode.fields import describe_fields
from fiberaug.decode.options import parse_decode
from fiberaug.decode.sample import SampleDecoder
from fiberaug.engine import skips
from fiberaug.errors import UsageError
from fiberaug.jobs.mapping import resolve_fields
from fiberaug.jobs.plain import resolve_any as resolve
from fiberaug.manifests import record_context, run_manifest, why_not_replayable
from fiberaug.mix import Mix
from fiberaug.passes import PassControl, PlainPass
from fiberaug.planning import make_plan
from fiberaug.proven import Proven
from fiberaug.ranks import Share
from fiberaug.record import RecordContext
from fiberaug.selecting import Subset
from fiberaug.setups import OnError, Setup
from fiberaug.shards.cache import ShardCache
from fiberaug.shards.readahead import windows_that_fit
from fiberaug.sharing import rank_range, steps
from fiberaug.sourcing import Opening, open_mix
from fiberaug.splits import Split, restrict
from fiberaug.state import STATE_VERSION, check_belongs, check_place
from fiberaug.tiled import BoxReader
from fiberaug.tiling import Tiling

if TYPE_CHECKING:
    from fiberaug.augment.cpu import CpuEngine
    from fiberaug.shards.resolve import ShardSet

__all__ = ["StreamingDataset"]


class StreamingDataset(IterableDataset[dict[str, Any]]):
    """Samples of tar shards in an exact order, augmented and recorded.

    Give it to :class:`fiberaug.DataLoader`. In a plain ``torch.utils.data.DataLoader``
    it yields finished samples: tensors [C, H, W], normalised, ``record`` as JSON text;
    with several workers it must be told ``batch_size``, and then the order is the same.

    Args:
        shards: Path or URL (``http(s)://``, ``s3://``, ``gs://``, ``hf://``) with
            braces or a glob, a folder, a list of such, or a webdataset object that only
            names shards; or a set that has none: a folder of images, COCO, Pascal VOC,
            YOLO and what else ``convert`` reads (docs/plain.md).
        fields: ``auto``, a preset, or a mapping such as ``{"image": "jpg;png",
            "label": "cls;json:label", "caption?": "txt"}``; ``?`` marks a field that
            may miss.
        transform: An Albumentations transform, a :class:`fiberaug.Recipe` or the path
            of a recipe file, a :class:`fiberaug.ImageProcessor`, a torchvision v2
            transform, any ``callable(sample) -> sample``, or a list of these.
        train: False for evaluation: no shuffle, every sample once, broken ones masked,
            the epoch fixed at 0.
        shuffle: Defaults to ``train``; an int is the window in samples.
        seed: Seed of order and augmentation, in [0, 2**64).
        mix: What is mixed in, a :class:`fiberaug.Mix`, or the section of a recipe.
        split: Part of the set that ``convert --split`` made, such as ``"train"``, or
            ``"all"``; or a name and a share by a hash of group or key, which data that
            is added does not move: ``("train", 0.9)`` and ``("val", 0.1)``.
        subset: Part of the set: a fraction in (0, 1], a number of samples of each
            class, keys, or a condition such as ``"label in (1, 2) and width >= 640"``
            over the index.
        balance: How often classes are dealt: ``uniform``, ``sqrt`` (of their sizes),
            weights by class, or ``weights``, those of the index. Samples are repeated
            or left out in turn.
        epoch_size: Positions of an epoch; None: the set once. Epochs go on where the
            last one ended.
        tile: (height, width) of the tiles that each photo is cut into, px, one number
            for a square; a tile is a sample. In training each epoch cuts elsewhere, as
            far as the tiles still cover the photo. None: photos are whole.
        overlap: Least overlap of neighbouring tiles, px.
        visibility: Least part of a box's area, or of a mask's pixels, that a tile must
            hold for the object to be there, in [0, 1].
        keep_empty: False leaves out tiles without a box; the grid is then fixed, and
            all annotations are read when the set is opened.
        views: How often each sample is augmented; it is decoded once. With more than 1,
            changed fields of batches are [B, V, ...] or lists of lists.
        decode: ``exact``, or a mapping with ``color`` (``rgb``, ``gray``, ``keep``),
            ``depth`` (``uint8``, ``keep``), ``max_pixels`` and ``max_side`` (px).
        decoders: Your own decoders by extension, ``bytes -> uint8 [H, W, C]``.
        on_error: What happens to a broken sample: ``replace`` by another of the set,
            ``mask`` (a padding row), ``raise``, or a function of the error that returns
            one of these. Defaults to ``replace``, in evaluation to ``mask``.
        max_errors: Share of the epoch that may be broken before the run stops; at least
            10 samples may.
        on_shard_error: ``raise``, or ``skip``: samples of a damaged or missing shard
            are as broken ones, and do not count; without an index they are left out.
        batch_size: Rows of this rank's batches, for a plain torch DataLoader.
        rank: This process's rank. None: torch.distributed, else ``RANK``, else 0.
        world_size: Number of ranks. None: torch.distributed, ``WORLD_SIZE``, or 1.
        cache_dir: Folder of remote shards; None: ``~/.cache/fiberaug``.
        cache_limit: Most bytes that they take up there.
        allow_pipe: Take ``pipe:`` shards: the output of one program, without a shell.
        index_dir: Folder of the index side-cars. None: beside the shards.
        record: ``packed``, ``text`` (records as JSON) or ``none``.
        pixel_hash: Records hold a hash of the augmented image, which replay compares.
        opaque: ``refuse`` forbids callables of which nothing is known.
        ignore_index: What transforms that pad put into masks, where they do not say;
            and what ``collate="pad"`` puts there.
        unit: b0, positions dealt in a row from one lane.
        window: Samples of a lane that are shuffled among themselves.
        lanes: V. None: as many as there are full windows, at most 64.

    Raises:
        UsageError: An argument is out of range or does not fit the others.
        StoreError: A shard or an index cannot be read.
        ShardDamaged: An index or ``dataset.json`` is broken.
    """

    def __init__(
        self,
        shards: Any,  # noqa: ANN401  # see the docstring
        *,
        fields: Mapping[str, str] | str = "auto",
        transform: Any = None,  # noqa: ANN401  # see the docstring
        train: bool = True,
        shuffle: bool | int | None = None,
        seed: int = 0,
        mix: Mix | Mapping[str, Any] | None = None,
        split: Split | None = None,
        subset: Subset | None = None,
        balance: str | Mapping[str | int, float] | None = None,
        epoch_size: int | None = None,
        tile: int | tuple[int, int] | None = None,
        overlap: int = 0,
        visibility: float = 0.1,
        keep_empty: bool = True,
        views: int = 1,
        decode: str | Mapping[str, Any] = "exact",
        decoders: Mapping[str, Callable[[bytes], Any]] | None = None,
        on_error: OnError | None = None,
        max_errors: float = 0.001,
        on_shard_error: str = "raise",
        batch_size: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        cache_dir: str | Path | None = None,
        cache_limit: int | str = "50GB",
        allow_pipe: bool = False,
        index_dir: str | Path | None = None,
        record: str = "packed",
        pixel_hash: bool = False,
        opaque: str = "allow",
        ignore_index: int | None = None,
        unit: int = 16,
        window: int = 4096,
        lanes: int | None = None,
    ) -> None:
        self.asked = {n: v for n, v in vars().items() if n not in {"self", "__class__"}}
        super().__init__()
        check_arguments(views, record, batch_size, max_errors, on_error)
        on_error = on_error or ("replace" if train else "mask")
        if not train and on_error == "replace":
            on_error = "mask"  # a stand-in would count a sample twice
        shuffle = train if shuffle is None else shuffle
        if not isinstance(shuffle, bool):
            window, shuffle = shuffle, shuffle > 0
        self.train, self.record, self.max_errors = train, record, max_errors
        self.batch_size, self._share = batch_size, Share(rank, world_size)
        self._index_dir = None if index_dir is None else str(Path(index_dir).absolute())
        skip, store = skips(on_shard_error), ShardCache(cache_dir, limit=cache_limit)
        self.shard_set: ShardSet = resolve(
            shards, index_dir=index_dir, cache=store, allow_pipe=allow_pipe, skip=skip
        )
        whole = self.shard_set
        self.shard_set, subset = restrict(self.shard_set, split, subset)
        manifest = self.shard_set.manifest
        self.classes: tuple[str, ...] = manifest.classes if manifest else ()
        self.extensions, self.specs = resolve_fields(self.shard_set, fields, skip=skip)
        from fiberaug import processors  # noqa: F401, PLC0415  # recipes name them
        from fiberaug.augment.resolve import recipe_hash, resolve_transform  # noqa: PLC0415  # 1.7 s of import

        self.pipeline, section, batches = resolve_transform(transform, opaque=opaque)
        self.sections = dict(batches)
        if section is not None and decode != "exact":
            raise UsageError(
                f"decode is given twice: {decode!r} here, {dict(section)} by the recipe"
            )
        options = parse_decode(decode if section is None else section)
        own = {k.lstrip(".").lower(): v for k, v in (decoders or {}).items()}
        self.views, self.ignore_index = views, ignore_index
        refs, cache = self.shard_set.refs, self.shard_set.cache
        decoder = SampleDecoder(
            specs=self.specs,
            classes={name: i for i, name in enumerate(self.classes)},
            options=options,
            decoders=own,
            kinds={} if self.pipeline is None else self.pipeline.additional_targets,
        )
        tiling = Tiling.of(
            tile, overlap=overlap, visibility=visibility, keep_empty=keep_empty
        )
        self.plan, rows = make_plan(
            self.shard_set, train=train, subset=subset, balance=balance,
            epoch_size=epoch_size, tiling=tiling, boxes=BoxReader(refs, cache, decoder),
            seed=seed, shuffle=shuffle, lanes=lanes, unit=unit, window=max(1, window),
        )  # fmt: skip
        shown = Opening(
            self.shard_set, whole, self.plan, rows, self.classes, self.specs, decoder,
            store, allow_pipe, split,
        )  # fmt: skip
        said = self.sections.pop("mix", None)
        self.mixture, self.origins = open_mix(mix, said, shown, train=train)
        if self.mixture is not None:
            self.plan = replace(self.plan, mix=self.mixture.identity)
            refs += self.mixture.refs
        self.setup = Setup(
            refs=refs, mixture=self.mixture, plan=self.plan, rows=rows,
            cache=cache or (store if any(ref.remote for ref in refs) else None),
            windows=windows_that_fit(self.shard_set.refs, self.plan, cache),
            decoder=decoder, pipeline=self.pipeline, on_error=on_error,
            skip_shards=skip, ignore_index=ignore_index, views=views, tiling=tiling,
            pixel_hash=pixel_hash, shift_tiles=train and keep_empty,
            proven=Proven.of([ref.samples for ref in refs]),
        )  # fmt: skip
        self._engine: CpuEngine | None = None
        self._cpu  # noqa: B018  # what does not fit the fields fails now
        self.recipe_hash = recipe_hash(
            self.pipeline, options.describe(), own, ignore_index
        )
        self.run_environment: Mapping[str, str] | None = None
        """Where the set was opened from a run folder: the environment of that run."""
        self._context: RecordContext | None = None
        self._control = PassControl(fixed=not train, budget=SharedBudget())

    def positions(self, epoch: int) -> int:
        """Return the positions of an epoch over all ranks; TypeError without an index.

        With a mix they can differ from epoch to epoch.
        """
        if self.mixture is None:
            return self.plan.n
        return self.mixture.length(epoch)

    @property
    def rank(self) -> int:
        """This process's rank."""
        return self.share[0]

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self.share[1]

    @property
    def share(self) -> tuple[int, int]:
        """Rank and number of ranks, as they are now."""
        return self._share()

    def serve(self, loader: Any) -> None:  # noqa: ANN401  # our loader, a floor above
        """Hand on ``set_epoch`` to ``loader``, as long as it lives."""
        self._control.serve(loader)

    def refuse_second_split(self) -> None:
        """Check that no framework deals out what a plain torch DataLoader gets."""
        self._share.refuse_second_split(in_loader=self._control.serves)

    def refuse_sections(self, what: str) -> None:
        """Check that the recipe has nothing that only our loader does.

        Args:
            what: What cannot do it.

        Raises:
            UsageError: The recipe has a section ``gpu`` or ``batch``.
        """
        if self.sections:
            raise UsageError(
                f"{what} makes single samples, and the recipe has the sections"
                f" {sorted(self.sections)}, which work on batches: use"
                " fiberaug.DataLoader, or leave them out"
            )

    @property
    def num_samples(self) -> int:
        """Samples of the set, or of its ``subset``; TypeError without an index."""
        return self.plan.samples

    def __len__(self) -> int:
        """Return the rows that this rank yields in an epoch, padding included.

        TypeError without an index.
        """
        rank, world = self.share
        size = (self.batch_size or 1) * world
        n = self.positions(self._control.upcoming)
        total = steps(n, size, drop_last=False)
        positions, pads = rank_range(n, size, max(0, total - 1), rank, world)
        return max(0, total - 1) * (size // world) + len(positions) + pads

    def describe(self) -> str:
        """Return which member fills which field, in one line."""
        return describe_fields(self.specs, self.extensions)

    @property
    def _cpu(self) -> "CpuEngine | None":
        """The pipeline as it runs, for what can be known of it here."""
        if self._engine is None and self.pipeline is not None:
            from fiberaug.augment.cpu import CpuEngine  # noqa: PLC0415  # 1.7 s of import

            names = [spec.name for spec in self.specs]
            self._engine = CpuEngine(
                self.pipeline, names, ignore_index=self.ignore_index
            )
        return self._engine

    def __getstate__(self) -> dict[str, Any]:
        """Leave the engine behind, and what only this process makes sets anew of."""
        return {**self.__dict__, "_engine": None, "asked": {}}

    def collate(self, *, mode: str, pad_to: int) -> Collate:
        """Return the worker's half of collating this set's samples.

        Args:
            mode: ``stack``, ``pad`` or ``list``.
            pad_to: Multiple to which ``pad`` rounds sides up, px.
        """
        options: dict[str, Any] = {"mode": mode, "pad_to": pad_to}
        if self.ignore_index is not None:
            options["ignore_index"] = self.ignore_index
        if self._cpu is None:
            return Collate(**options)
        lists = Collate().lists | (self._cpu.linked - RAGGED.keys())
        return Collate(
            **options, images=self._cpu.images, masks=self._cpu.masks, lists=lists
        )

    def context(self, epoch: int) -> RecordContext:
        """Return what all records of an epoch share."""
        if self._context is None:
            self._context = record_context(self, self._cpu)
        return self._context.at(epoch)

    def why_not_replayable(self) -> str | None:
        """Return why records cannot be replayed from a run folder alone, or None."""
        return why_not_replayable(self)

    def manifest(self) -> dict[str, Any]:
        """Return what stands for a whole run once: enough to replay its records."""
        return run_manifest(self, self._index_dir)

    def state(self, epoch: int, position: int) -> dict[str, Any]:
        """Return the state after ``position`` samples of ``epoch`` over all ranks."""
        return {**self._identity, "epoch": epoch, "position": position}

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What a state belongs to; the plan's digest costs 1 us a shard."""
        return {
            "v": STATE_VERSION,
            "plan": self.plan.to_json(),
            "fingerprint": self.shard_set.fingerprint,
            "recipe": self.recipe_hash,
        }

    def read_state(
        self, state: Mapping[str, Any], own: Mapping[str, Any] | None = None
    ) -> tuple[int, int]:
        """Return (epoch, position) of a state that belongs to this data set.

        Args:
            state: What was saved.
            own: A state as it would be saved now. None: that of the data set alone.

        Raises:
            StateMismatch: It does not; the differing fields are named.
        """
        check_belongs(state, own or self.state(0, 0))
        samples = None
        if self.plan.counts is not None:
            samples = self.positions(max(0, int(state["epoch"])))
        return check_place(state, samples=samples)

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass ``epoch``, in our loader or in workers of torch's."""
        self._control.set_epoch(epoch)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume a plain torch DataLoader; :class:`fiberaug.DataLoader` has its own.

        Raises:
            StateMismatch: The state belongs to other data, plan or recipe.
        """
        self._control.resume(*self.read_state(state))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Return a pass over this worker's share of finished samples."""
        return PlainPass(self, self._control)
