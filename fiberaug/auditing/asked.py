"""What a run's manifest asks for: its operations, and how often each is to be applied.

What cannot be computed from the manifest is not guessed: it is ``None``, with a reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fiberaug.auditing.compositions import leaf_chances, name_of

__all__ = ["Leaf", "asked_leaves"]

_OURS = "fiberaug.augment."
_POLICIES = frozenset(
    {"AugMix", "AutoAugment", "RandAugment", "RandomErasing", "TrivialAugmentWide"}
)
_BATCH_KEYS = ("p", "p_batch")
_MIXES = frozenset({"CopyPaste", "CutMix", "MixUp", "MixUpOrCutMix", "Mosaic"})
_TENSOR = "ToTensorV2"
_TORCHVISION = "torchvision."
_OVERLAP = "torchvision's operations have the paths of others"
_NO_FORM = "the pipeline did not serialise"


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """An operation that records can name."""

    path: str
    """As in records: ``2.0``, ``gpu.1``, ``batch.0``."""

    name: str
    """Class name."""

    chance: float | None
    """Probability that a record has it; None: not known."""

    why: str = ""
    """Why it is not known."""

    trials: str = "records"
    """What is drawn independently: ``records``; ``units``, whose rows share a draw; or
    ``paired``, rows that have another row in their unit."""

    known: bool = True
    """Whether its parameters are those of the library's class of that name."""

    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What the recipe says of it."""


def asked_leaves(recipe: Mapping[str, Any]) -> tuple[Leaf, ...]:
    """Return the operations of a manifest's recipe, in the order of its sections.

    Args:
        recipe: The entry ``recipe`` of a run's manifest.
    """
    from fiberaug.gpu.layouts import LAYOUTS  # noqa: PLC0415  # imports torch

    found = list(_cpu(recipe.get("cpu")))
    if any(leaf.name.startswith(_TORCHVISION) for leaf in found):
        # paths of its leaves are those of others
        found = [
            replace(leaf, chance=None, why=_OVERLAP, known=False) for leaf in found
        ]
    for i, operation in enumerate(recipe.get("batch") or ()):
        found.append(_mix(f"batch.{i}", operation))
    for i, operation in enumerate(recipe.get("gpu") or ()):
        found.append(_gpu(f"gpu.{i}", operation, LAYOUTS))
    return tuple(found)


def _cpu(identity: Any) -> Iterator[Leaf]:  # noqa: ANN401  # JSON
    if identity is None:
        return
    if isinstance(identity, Mapping):
        identity = [{"first": 0, "nested": False, **identity}]
    for number, part in enumerate(identity):
        last = number == len(identity) - 1
        if "transform" in part:
            yield from _compose(part, last=last)
        elif "compose" in part:
            for path, name, *_ in part["compose"]:
                place = _path(part, [int(n) for n in path.split(".")])
                yield Leaf(
                    path=place, name=name, chance=None, why=_NO_FORM, known=False
                )
        else:
            yield _own(part)


def _compose(part: Mapping[str, Any], *, last: bool) -> Iterator[Leaf]:
    root = part["transform"]
    leaves = list(leaf_chances(root))
    if last and leaves and _is_dropped(root, leaves[-1].node, leaves[-1].path):
        leaves.pop()
    for leaf in leaves:
        name = name_of(leaf.node) or str(leaf.node.get("__class_fullname__"))
        kind = str(leaf.node.get("__class_fullname__"))
        known = "." not in kind or kind.startswith(_OURS)
        why = leaf.why if known else f"{kind} is not the library's"
        yield Leaf(
            path=_path(part, leaf.path),
            name=name,
            chance=leaf.chance if known else None,
            why=why,
            known=known,
            arguments=leaf.node,
        )


def _is_dropped(
    root: Mapping[str, Any], leaf: Mapping[str, Any], path: Sequence[int]
) -> bool:
    """Return whether the engine leaves out a last conversion to a tensor."""
    always = root["p"] >= 1 and leaf["p"] >= 1
    return always and len(path) == 1 and name_of(leaf) == _TENSOR


def _path(part: Mapping[str, Any], path: Sequence[int]) -> str:
    first, (top, *rest) = part.get("first", 0), path or (0,)
    numbers = [first, top, *rest] if part.get("nested") else [first + top, *rest]
    return ".".join(map(str, numbers))


def _own(part: Mapping[str, Any]) -> Leaf:
    """Return an operation of the user's; a processor is logged for each sample."""
    path = str(part.get("first", 0))
    if "class" in part:
        name = str(part["class"]).rpartition(".")[2]
        return Leaf(path=path, name=name, chance=1.0, known=False)
    why = "nothing is known of a callable"
    name = str(part.get("callable", "callable"))
    return Leaf(path=path, name=name, chance=None, why=why, known=False)


def _mix(path: str, operation: Mapping[str, Any]) -> Leaf:
    ((name, arguments),) = operation.items()
    known = name in _MIXES
    return Leaf(
        path=path,
        name=name,
        chance=float(arguments["p"]) if known else None,
        why="" if known else f"{name} is not the library's",
        trials="paired",
        known=known,
        arguments=arguments,
    )


def _gpu(path: str, operation: Mapping[str, Any], kornia: Mapping[str, Any]) -> Leaf:
    ((kind, arguments),) = operation.items()
    name = kind.rpartition(".")[2]
    if kind == "text" or not isinstance(arguments, Mapping):
        why = "the operation did not serialise"
        return Leaf(path=path, name="", chance=None, why=why, known=False)
    ours = name in _POLICIES and kind in {name, f"fiberaug.{name}"}
    if kind not in kornia and not ours:
        why = f"{kind} is not the library's"
        if "transforms" in arguments:
            why = "the container draws which operations run"
        return Leaf(path=path, name=name, chance=None, why=why, known=False)
    chance = 1.0
    for key in _BATCH_KEYS:
        chance *= float(arguments.get(key, 1.0))
    shared = arguments.get("same_on_batch") or float(arguments.get("p_batch", 1)) < 1
    return Leaf(
        path=path,
        name=name,
        chance=chance,
        trials="units" if shared else "records",
        known=kind in kornia,
        arguments=arguments,
    )
