"""The user's pipeline, reseeded per sample and logged leaf by leaf."""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import albumentations as A
import numpy as np
from numpy.typing import NDArray

from fiberaug.augment.lazy import (
    Box,
    Undecoded,
    apply_undecoded,
    can_wait,
    draws_blind,
    reach,
)
from fiberaug.augment.mending import mend
from fiberaug.augment.normalize import Finish, NormalizeTable
from fiberaug.augment.opaque import keyed_globals
from fiberaug.augment.own import CallableStage, ProcessorStage
from fiberaug.augment.pipeline import Part, Pipeline
from fiberaug.augment.spec import foreign, leaves
from fiberaug.augment.targets import TARGETS, Targets, as_array
from fiberaug.augment.vision import VisionStage
from fiberaug.errors import SampleBroken, UsageError
from fiberaug.params import pack
from fiberaug.sample import Sample
from fiberaug.seeding import KeyedGenerators

__all__ = ["Augmented", "ComposeStage", "CpuEngine", "Step"]

Operation = tuple[int, dict[str, Any]]
Fields = dict[str, Any]
Keys = Callable[[str], bytes]
Step = Callable[[int, Mapping[str, Any]], None]
"""Called after each operation with (number of the leaf, fields)."""

_UINT8 = np.dtype(np.uint8)
_PLAIN = frozenset({_UINT8, np.dtype(np.float32)})
"""What Albumentations takes, and keeps."""
_BAD_BOX = re.compile(r"(Expected \w+|\w+ is less than or equal to \w+) for bbox ")
_CONVERTERS = frozenset(
    {"FromFloat", "Lambda", "Normalize", "ToFloat", "ToTensor3D", "ToTensorV2"}
)
"""Albumentations' transforms that are there to change the dtype."""


class Augmented(NamedTuple):
    """What came out of the pipeline."""

    fields: Fields
    """All fields: arrays, image [H, W, C]."""

    operations: list[Operation]
    """(number of the leaf, packed parameters) in the order of execution."""


class ComposeStage:
    """Runs an Albumentations pipeline on single samples.

    The pipeline is copied: the user's object is neither changed nor reseeded. A
    trailing ``ToTensorV2`` is dropped and a trailing standard ``Normalize`` taken out,
    where the stage is the last one; see :attr:`normalize`.

    Args:
        part: What runs, and where it stands.
        fields: Names of the fields that samples have.
        last: Nothing runs after this stage.
        ignore_index: What padding puts into masks.
        first: Number of its first leaf.

    Raises:
        UsageError: See :class:`Targets`.
    """

    def __init__(
        self,
        part: Part,
        fields: Sequence[str],
        *,
        last: bool,
        ignore_index: int | None,
        first: int,
    ) -> None:
        compose = copy.deepcopy(part.what)
        _separate(compose, set())
        rest = _children(compose)
        self.normalize = _split_tail(compose, rest) if last else None
        self.tail = part.path(str(len(rest))) if self.normalize is not None else ""
        self.targets = Targets(compose, fields, ignore_index)
        self._compose = self.targets.compose(compose, rest)
        self._generators = KeyedGenerators()
        self._compose.set_random_state(self._generators.numpy, self._generators.python)
        self.operations: list[Operation] = []
        self.step: Step | None = None
        self.waits = can_wait(self._compose)
        """Whether the image may come as :class:`Undecoded`."""
        self._image: Undecoded | None = None
        self._before: Fields = {}
        self._deep = False
        # Code that is not the library's may draw from the global generators.
        self._guarded = bool(foreign(self._compose))
        self.leaves: list[tuple[str, str]] = []
        for path, leaf in leaves(self._compose):
            mend(leaf)
            self._hook(leaf, first + len(self.leaves), part.path(path))
            if self.waits and not draws_blind(leaf):
                self._hook_draws(leaf)
            self.leaves.append((part.path(path), type(leaf).__name__))

    def _hook(self, leaf: Any, number: int, path: str) -> None:  # noqa: ANN401
        original: Callable[..., Any] = leaf.apply_with_params
        log, name = self.operations.append, type(leaf).__name__
        converts = name in _CONVERTERS or not type(leaf).__module__.startswith(
            "albumentations."
        )

        def logged(params: dict[str, Any], **data: Any) -> Any:  # noqa: ANN401
            log((number, pack(params)))
            wait = self._image
            if wait is not None and data["image"] is wait.standin:
                out = apply_undecoded(leaf, original, params, data, wait)
            elif converts or not self._deep:
                out = original(params, **data)
            else:
                image = data["image"]
                try:
                    out = original(params, **data)
                except Exception as error:
                    if image.dtype in _PLAIN:
                        raise
                    raise _refused(name, path, image, str(error)) from error
                if out["image"].dtype != image.dtype:
                    raise _refused(name, path, image, f"got {out['image'].dtype}")
            if self.step is not None:
                self.step(number, self.targets.seen(out, self._before))
            return out

        leaf.apply_with_params = logged

    def _hook_draws(self, leaf: Any) -> None:  # noqa: ANN401
        """Let a transform that may look at pixels when it draws see them."""
        original: Callable[..., Any] = leaf.get_params_dependent_on_data

        def seeing(params: dict[str, Any], data: dict[str, Any]) -> Any:  # noqa: ANN401
            wait = self._image
            if wait is not None and data.get("image") is wait.standin:
                data["image"] = wait.whole()
            return original(params=params, data=data)

        leaf.get_params_dependent_on_data = seeing

    def __call__(
        self, fields: Fields, key: bytes, image: Undecoded | None = None
    ) -> Fields:
        """Return the changed fields; the log is in :attr:`operations`.

        Args:
            fields: Fields of the sample, image [H, W, C].
            key: 16 bytes from which everything is drawn.
            image: What the field ``image`` stands for, where it is a stand-in.

        Raises:
            SampleBroken: An image or a mask has another size than the image, or a box
                is none.
        """
        self.operations.clear()
        self._generators.jump(key)
        self._before, self._image = fields, image
        self._deep = fields["image"].dtype not in _PLAIN
        if self._guarded:
            with keyed_globals(key):
                changed = self._changed(fields)
        else:
            changed = self._changed(fields)
        if self.normalize is not None:
            for name in self.targets.images & changed.keys():
                if changed[name].dtype != _UINT8:
                    changed[name] = self.normalize.apply(changed[name])
        return changed

    def _changed(self, fields: Fields) -> Fields:
        wait = self._image
        if self.targets.only_image:
            image = self._compose(image=fields["image"])["image"]
            if wait is not None and image is wait.standin:
                image = wait.whole()
            if type(image) is not np.ndarray or image.ndim == 2:
                image = as_array(image)
            return {"image": image}
        arguments = self.targets.arguments(fields)
        try:
            out = self._compose(**arguments)
        except ValueError as error:
            if not _BAD_BOX.match(str(error)):
                raise
            raise SampleBroken(
                f"a box is refused: {error}; BboxParams(clip=True,"
                " filter_invalid_bboxes=True) would cut or drop it",
                stage="augment",
            ) from error
        if wait is not None and out["image"] is wait.standin:
            out["image"] = wait.whole()
        return self.targets.fields(out, fields)


def _refused(name: str, path: str, image: NDArray[Any], why: str) -> UsageError:
    most = np.iinfo(image.dtype).max if image.dtype.kind in "iu" else 1.0
    return UsageError(
        f"{name} (transforms[{path}]) takes uint8 images, or float32 in [0, 1], not"
        f" {image.dtype}: {' '.join(why.split())[:120]}; put"
        f' A.ToFloat(max_value={most}) first, or decode={{"depth": "uint8"}}',
        stage="augment",
    )


def _separate(transform: Any, seen: set[int]) -> None:  # noqa: ANN401
    """Give a transform that stands in several places an instance for each."""
    children = _children(transform)
    for i, child in enumerate(children):
        if id(child) in seen:
            children[i] = copy.deepcopy(child)
        seen.add(id(children[i]))
        if isinstance(children[i], A.BaseCompose):
            _separate(children[i], seen)
    transform.transforms = children


def _children(transform: Any) -> list[Any]:  # noqa: ANN401
    return list(transform.transforms)


def _split_tail(compose: A.Compose, rest: list[Any]) -> NormalizeTable | None:
    """Take what the consumer does for a whole batch off the end of ``rest``."""
    if compose.p < 1:
        return None
    if rest and type(rest[-1]).__name__ == "ToTensorV2" and rest[-1].p >= 1:
        rest.pop()
    last: Any = rest[-1] if rest else None
    if type(last) is A.Normalize and last.normalization == "standard" and last.p >= 1:
        return NormalizeTable(rest.pop())
    return None


class CpuEngine:
    """Runs the parts of a pipeline on single samples.

    Args:
        pipeline: The pipeline.
        fields: Names of the fields that samples have.
        ignore_index: What padding puts into masks, where the pipeline does not say.

    Raises:
        UsageError: A part does not fit the fields.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        fields: Sequence[str],
        *,
        ignore_index: int | None = None,
    ) -> None:
        self.normalize: NormalizeTable | None = None
        self.leaves: list[tuple[str, str]] = []
        """(path, name) of each leaf."""
        self.tail = ""
        """Path of the normalisation that runs behind the pipeline."""
        self.images = frozenset({"image"})
        """Fields that are images."""
        self.masks = frozenset({"mask"})
        """Fields that are masks [H, W]."""
        self.linked: frozenset[str] = frozenset()
        """Fields with one item for each box or point."""
        self.normalized: frozenset[str] = frozenset()
        """Images that :attr:`normalize` is for."""
        changes = {name for name in fields if name in TARGETS}
        self._stages: list[tuple[str, int, Any]] = []
        for part in pipeline.parts:
            first = len(self.leaves)
            if part.kind == "compose":
                last = part is pipeline.parts[-1]
                stage: Any = ComposeStage(
                    part, fields, last=last, ignore_index=ignore_index, first=first
                )
                self.normalize, self.tail = stage.normalize, stage.tail
                changes |= stage.targets.changes
                self.images |= stage.targets.images
                self.masks |= stage.targets.masks
                self.linked |= stage.targets.linked
                if self.normalize is not None:
                    self.normalized = frozenset(stage.targets.images)
                self.leaves += stage.leaves
            elif part.kind == "torchvision":
                stage = VisionStage(copy.deepcopy(part.what))
                self.leaves += [(part.path(p), n) for p, n in stage.leaves]
            else:
                own = part.kind == "processor"
                stage = ProcessorStage(part.what) if own else CallableStage(part.what)
                changes |= {name for name in fields if name != "label"}
                self.leaves.append((part.path(), stage.name))
            self._stages.append((part.stage, first, stage))
        self._at = self._stages[0] if self._stages else None
        self.changes = frozenset(changes)
        """Fields that can differ between views of a sample."""
        self._only = self._stages[0][2] if len(self._stages) == 1 else None
        first_stage = self._stages[0][2] if self._stages else None
        self.waits = type(first_stage) is ComposeStage and first_stage.waits
        """Whether the image may come as :class:`Undecoded`."""

    @property
    def running(self) -> str:
        """The operation that ran last, in words, for whom it failed; may be empty."""
        if self._at is None:
            return ""
        _, number, stage = self._at
        if type(stage) is ComposeStage:
            if not stage.operations:
                return ""
            number = stage.operations[-1][0]
        path, name = self.leaves[number]
        return f"operation {name} (transforms[{path}])"

    @property
    def finish(self) -> Finish:
        """What is done to images behind the pipeline."""
        return Finish(
            images=self.images, normalized=self.normalized, table=self.normalize
        )

    def __call__(
        self,
        fields: Fields,
        keys: Keys,
        *,
        key: str = "",
        url: str = "",
        step: Step | None = None,
        image: Undecoded | None = None,
    ) -> Augmented:
        """Return a sample's fields, augmented.

        Args:
            fields: Decoded fields, image [H, W, C]; they are not changed.
            keys: The sample's key of a stage, from which everything is drawn.
            key: Name of the sample, for callables.
            url: The shard, for callables.
            step: Sees the fields after each operation.
            image: What the field ``image`` stands for, where it is a stand-in;
                only with :attr:`waits`, and without ``step``.
        """
        only = self._only
        if type(only) is ComposeStage and step is None:
            changed = only(fields, keys("cpu"), image)
            return Augmented({**fields, **changed}, only.operations.copy())
        operations: list[Operation] = []
        for at in self._stages:
            self._at = at
            name, first, stage = at
            if type(stage) is ComposeStage:
                stage.step = step
                fields = {**fields, **stage(fields, keys(name), image)}
                image = None
                operations += stage.operations
                stage.step = None
                continue
            sample, log = stage(Sample(fields, key=key, url=url), keys(name))
            fields = dict(sample)
            run = [(0, log)] if isinstance(log, dict) else log
            operations += [(first + number, params) for number, params in run]
            if step is not None and run:
                step(first + run[-1][0], fields)
        return Augmented(fields, operations)

    def reach(self, fields: Fields, keys: Keys, image: Undecoded) -> Box | None:
        """Return the window of the image that a call will need; None: all of it.

        Args:
            fields: Decoded fields, with a stand-in as image.
            keys: As of a call.
            image: What the stand-in stands for.
        """
        name, _, stage = self._stages[0]
        return reach(lambda probe: stage(fields, keys(name), probe), image)
