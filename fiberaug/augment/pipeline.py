"""The user's transform, taken apart: what runs after what, and what it is called."""

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import albumentations as A

from fiberaug.augment.opaque import callable_name, source_hash
from fiberaug.augment.processor import (
    Processor,
    processor_spec,
    registered_processors,
)
from fiberaug.augment.spec import (
    canonical_hash,
    compose_spec,
    describe,
    leaves,
    rebuild_compose,
    sources,
)
from fiberaug.augment.vision import is_torchvision
from fiberaug.errors import UsageError

__all__ = ["Part", "Pipeline", "as_pipeline", "pipeline_hash", "rebuild"]

_Albumentations = A.BasicTransform | A.BaseCompose
_OPAQUE = ("allow", "refuse")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing that runs by itself."""

    kind: str
    """``compose``, ``processor``, ``torchvision`` or ``callable``."""

    what: Any
    """The user's object."""

    first: int = 0
    """Where it stands in the user's list; a run of Albumentations transforms, where the
    first of them stands."""

    nested: bool = False
    """A ``Compose`` inside of a list: its leaves stand below ``first``."""

    @property
    def stage(self) -> str:
        """Name of the stage in the key: parts draw independently."""
        return f"cpu/{self.first}" if self.first else "cpu"

    def path(self, leaf: str = "") -> str:
        """Return where a leaf of this part stands in the user's transform."""
        if not leaf:
            return str(self.first)
        if self.nested:
            return f"{self.first}.{leaf}"
        top, dot, rest = leaf.partition(".")
        return f"{self.first + int(top)}{dot}{rest}"

    def spec(self) -> dict[str, Any] | None:
        """Return the serialised form, or None where there is none."""
        if self.kind == "compose":
            return compose_spec(self.what)
        if self.kind == "processor":
            return processor_spec(self.what)
        return None

    def identity(self) -> dict[str, Any]:
        """Return what names the part in the recipe's hash."""
        if self.kind == "compose":
            found = sources(self.what)
            named = self.spec() or {"compose": describe(self.what)}
            return {**named, "sources": found} if found else named
        source = source_hash(type(self.what) if self.kind == "processor" else self.what)
        spec = self.spec() or {"callable": callable_name(self.what)}
        if self.kind == "processor" and "params" not in spec:
            source += source_hash(self.what)
        return {**spec, "source": source}


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Parts in the order in which they run."""

    parts: tuple[Part, ...]

    def identity(self) -> Any:  # noqa: ANN401  # JSON
        """Return what names the pipeline, in the run's manifest and in hashes."""
        only = self.parts[0] if len(self.parts) == 1 else None
        if only is not None and only.kind == "compose" and not only.nested:
            return only.identity()
        return [
            {"first": part.first, "nested": part.nested, **part.identity()}
            for part in self.parts
        ]

    @property
    def additional_targets(self) -> dict[str, str]:
        """``{field: kind}`` of all Albumentations parts."""
        found: dict[str, str] = {}
        for part in self.parts:
            if part.kind == "compose":
                found |= part.what.additional_targets
        return found


def as_pipeline(transform: object, *, opaque: str = "allow") -> Pipeline:
    """Return the pipeline that a user's transform means.

    Args:
        transform: An Albumentations transform, a processor, a torchvision v2 transform,
            a callable of a sample, or a list of such.
        opaque: ``refuse`` raises where there is a callable of which nothing is known.

    Raises:
        UsageError: It is none of these; or see ``opaque``.
    """
    _check_library()
    if opaque not in _OPAQUE:
        raise UsageError(f"opaque must be one of {_OPAQUE}, got {opaque!r}")
    if isinstance(transform, Pipeline):
        return transform
    if isinstance(transform, A.Compose):
        pipeline = Pipeline(parts=(Part(kind="compose", what=transform),))
    else:
        pipeline = _listed(transform, opaque)
    for part in pipeline.parts:
        if part.kind == "compose":
            _refuse_replay(part.what)
            if opaque == "refuse":
                _refuse_lambda(part)
    return pipeline


def _refuse_replay(transform: object) -> None:
    """Refuse A.ReplayCompose at any depth: it puts its own log among the fields."""
    if isinstance(transform, A.ReplayCompose):
        raise UsageError(
            "A.ReplayCompose keeps a log of its own, and every sample has a record"
            " here: give A.Compose, and fiberaug.replay(record, loader)"
        )
    for child in getattr(transform, "transforms", ()):
        _refuse_replay(child)


def _refuse_lambda(part: Part) -> None:
    for path, leaf in leaves(part.what):
        if isinstance(leaf, A.Lambda):
            raise UsageError(
                f"opaque='refuse', and nothing is known of the Lambda at"
                f" transforms[{part.path(path)}]: write it as an ImageProcessor"
            )


def _listed(transform: object, opaque: str) -> Pipeline:
    items = list(transform) if isinstance(transform, list | tuple) else [transform]
    parts: list[Part] = []
    run: list[Any] = []
    for at, item in enumerate(items):
        if isinstance(item, _Albumentations) and not isinstance(item, A.Compose):
            run.append(item)
            continue
        parts += _run(run, at)
        run = []
        parts.append(_part(item, at, opaque))
    return Pipeline(parts=(*parts, *_run(run, len(items))))


def _run(transforms: Sequence[Any], end: int) -> list[Part]:
    if not transforms:
        return []
    compose = A.Compose(list(transforms))
    return [Part(kind="compose", what=compose, first=end - len(transforms))]


def _part(item: Any, at: int, opaque: str) -> Part:  # noqa: ANN401
    if isinstance(item, A.Compose):
        return Part(kind="compose", what=item, first=at, nested=True)
    if isinstance(item, Processor):
        return Part(kind="processor", what=item, first=at)
    if is_torchvision(item):
        return Part(kind="torchvision", what=item, first=at)
    if isinstance(item, type) or not callable(item):
        raise UsageError(
            "transform must be an Albumentations transform, an ImageProcessor, a"
            " torchvision v2 transform, a callable(sample) -> sample, a list of these,"
            f" a Recipe or a recipe file, got {item!r:.200}"
        )
    if opaque == "refuse":
        raise UsageError(
            f"opaque='refuse', and nothing is known of {callable_name(item)}: write it"
            " as an ImageProcessor or with Albumentations"
        )
    return Part(kind="callable", what=item, first=at)


def _check_library() -> None:
    """Refuse albumentationsx, which stands under the same import name.

    Raises:
        UsageError: It is installed in place of Albumentations 2.0.
    """
    if not A.__version__.startswith("2.0."):
        raise UsageError(
            f"albumentations {A.__version__} is installed, FiberAug runs 2.0.8:"
            " albumentationsx (AGPL) has the same import name; uninstall both, then"
            " install albumentations==2.0.8"
        )
    try:
        found = importlib.metadata.version("albumentationsx")
    except importlib.metadata.PackageNotFoundError:
        return
    raise UsageError(
        f"albumentationsx {found} (AGPL) is installed beside albumentations and shares"
        " its files: uninstall both, then install albumentations==2.0.8"
    )


def pipeline_hash(pipeline: Pipeline | None, extra: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that name a pipeline and what else pixels depend on.

    Args:
        pipeline: The pipeline. What does not serialise is named by its source.
        extra: Decoder and the like.
    """
    return canonical_hash({"cpu": pipeline and pipeline.identity(), **extra})


def rebuild(identity: Any) -> Pipeline:  # noqa: ANN401  # JSON
    """Return the pipeline of :meth:`Pipeline.identity`.

    A processor is built from the class of its name that this process has imported:
    nothing is imported here.

    Raises:
        UsageError: A part does not serialise, or is not known here.
    """
    if isinstance(identity, Mapping) and "transform" in identity:
        return as_pipeline(rebuild_compose(identity))
    if not isinstance(identity, list):
        raise UsageError("the pipeline does not serialise")
    return Pipeline(parts=tuple(_rebuild_part(part) for part in identity))


def _rebuild_part(part: Mapping[str, Any]) -> Part:
    first = part.get("first", 0)
    if "transform" in part:
        spec = {k: v for k, v in part.items() if k not in {"first", "nested"}}
        nested = bool(part.get("nested"))
        return Part(
            kind="compose", what=rebuild_compose(spec), first=first, nested=nested
        )
    name = part.get("class")
    if name is None:
        raise UsageError(
            f"{part.get('callable', 'a part of the pipeline')} does not serialise:"
            " replay with the loader or the data set of the run"
        )
    build: Callable[..., Processor] | None = registered_processors().get(name)
    if build is None:
        raise UsageError(
            f"there is no processor {name!r} in this process: import the module that"
            " defines it first"
        )
    try:
        made = build(**part["params"])
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} refuses its arguments: {error}") from error
    return Part(kind="processor", what=made, first=first)
