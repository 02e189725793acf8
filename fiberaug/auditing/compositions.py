"""How probable it is that a leaf of an Albumentations pipeline is applied.

It is computed from the serialised form, composition by composition, as the library
(2.0.8) draws: some compositions force their child, some ask its own ``p``, and two
heed no force from above.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Chance", "leaf_chances", "name_of"]

Node = Mapping[str, Any]
_Rule = tuple[bool, Callable[[float], float]]
"""Whether a child is called by force, and what its leaves' chance becomes above it."""


class Chance(NamedTuple):
    """A leaf, and how often it is asked for."""

    path: tuple[int, ...]
    """Place in the pipeline."""

    node: Node
    """Its serialised form."""

    chance: float | None
    """Probability that a sample has it at least once; None: not known."""

    why: str = ""
    """Why it is not known."""


def leaf_chances(node: Node, *, forced: bool = False) -> Iterator[Chance]:
    """Yield the leaves of a pipeline in the order of definition.

    Args:
        node: Serialised form of a composition or a leaf, which is called once.
        forced: Whether it is called with ``force_apply``.
    """
    children: Sequence[Node] = node.get("transforms") or ()
    if not children:
        yield Chance((), node, _own(node, forced=forced))
        return
    rules = _rules(node, children, forced=forced)
    for i, child in enumerate(children):
        force, above = (False, _certain) if rules is None else rules[i]
        for leaf in leaf_chances(child, forced=force):
            path = (i, *leaf.path)
            if rules is None or leaf.chance is None:
                why = leaf.why or f"how {name_of(node) or 'it'} draws is not known"
                yield leaf._replace(path=path, chance=None, why=why)
            else:
                yield leaf._replace(path=path, chance=above(leaf.chance))


def name_of(node: Node) -> str:
    """Return the class name of a node, without its module."""
    return str(node.get("__class_fullname__", "")).rpartition(".")[2]


def _rules(node: Node, children: Sequence[Node], *, forced: bool) -> list[_Rule] | None:
    """Return what a composition does with each child; None: not known."""
    count, own = len(children), _own(node, forced=forced)
    rules: list[_Rule] | None = None
    match node.get("__class_fullname__"):
        case "Compose" | "Sequential" | "SelectiveChannelTransform":
            rules = [(False, _times(own))] * count
        case "OneOf":
            weights = [_p(child) for child in children]
            total = sum(weights)
            if total > 0:
                rules = [(True, _times(own * weight / total)) for weight in weights]
        case "SomeOf" | "RandomOrder":  # they heed no force
            own = _own(node, forced=False)
            above = _times(own * min(1.0, node["n"] / count))
            if node["replace"]:
                above = _repeated(own, count, node["n"])
            rules = [(False, above)] * count
        case "OneOrOther":  # nor does this; the last child is the other
            shares = [0.0] * count
            shares[0] = _own(node, forced=False)
            shares[-1] += 1 - shares[0] if count > 1 else 1 - shares[-1]
            rules = [(True, _times(share)) for share in shares]
    return rules


def _times(share: float) -> Callable[[float], float]:
    return lambda chance: share * chance


def _certain(chance: float) -> float:
    return chance


def _repeated(own: float, count: int, draws: int) -> Callable[[float], float]:
    """Return the chance of a child of ``count`` in at least one of some draws."""
    return lambda chance: own * (1 - (1 - chance / count) ** draws)


def _p(node: Node) -> float:
    return min(1.0, max(0.0, float(node["p"])))


def _own(node: Node, *, forced: bool) -> float:
    """Return the probability that a node runs once it is called."""
    p = _p(node)
    heeds = forced and (p > 0 or bool(node.get("transforms")))  # a leaf of 0 does not
    return 1.0 if heeds else p
