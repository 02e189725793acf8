"""Parts of a set, as train and val: shares kept, groups never torn."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError

__all__ = ["assign", "group_rule", "parse_split"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*")


def parse_split(split: str | Mapping[str, float] | None) -> dict[str, float]:
    """Return the share of each part; empty where there is one part.

    Args:
        split: ``"train=0.8,val=0.2"`` or a mapping.

    Raises:
        UsageError: A name or a share is none, or they do not add up to 1.

    >>> parse_split("train=0.8,val=0.2")
    {'train': 0.8, 'val': 0.2}
    """
    if split is None:
        return {}
    if isinstance(split, str):
        pairs = [part.partition("=") for part in split.split(",")]
        names = [name.strip() for name, _, _ in pairs]
        if len(set(names)) < len(names):
            raise UsageError(f"a part stands twice in split {split!r}")
        try:
            split = {name.strip(): float(share) for name, _, share in pairs}
        except ValueError:
            raise UsageError(
                f"split must look like train=0.8,val=0.2, got {split!r}"
            ) from None
    shares = dict(split)
    if not shares:
        return shares
    for name, share in shares.items():
        if not _NAME.fullmatch(name) or not 0 < share <= 1:
            raise UsageError(
                "a part of the split is a name of letters and digits and a share above"
                f" 0, at most 1; got {name!r}: {share!r}"
            )
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise UsageError(
            f"the shares of split add up to {sum(shares.values()):g}, not 1: {shares}"
        )
    return shares


@lru_cache(maxsize=8)
def group_rule(rule: str | None) -> Callable[[str], str] | None:
    """Return what tells the group of a key; None where each sample is its own.

    Args:
        rule: ``folder``: the key up to its last slash; or a regular expression, whose
            groups (else whose match) in the key are the name, such as
            ``"(patient[0-9]+)_"``; a key that it does not match is a group of its own.

    Raises:
        UsageError: It is no regular expression.

    >>> group_rule("folder")("cat/7"), group_rule(r"(p[0-9]+)_")("p12_3")
    ('cat', 'p12')
    """
    if rule is None:
        return None
    if rule == "folder":
        return lambda key: key.rpartition("/")[0]
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise UsageError(
            f"group_by must be folder or a regular expression, got {rule!r}: {error}"
        ) from None

    def group(key: str) -> str:
        match = pattern.search(key)
        if match is None:
            return key
        return "\0".join(part or "" for part in match.groups()) or match.group()

    return group


def assign(
    groups: NDArray[np.uint64],
    shares: Mapping[str, float],
    *,
    seed: int,
    labels: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Return the number of the part of each sample, int64 [N].

    Groups are dealt one after the other, in an order that their names and the seed
    decide, each to the part that lacks most of what it holds. A part has at most its
    share of the samples and a group more. With ``labels`` it is each class that counts;
    without groups each is split to within a sample.

    Args:
        groups: A hash of each sample's group, uint64 [N].
        shares: The share of each part.
        seed: Of the order.
        labels: Class of each sample, int64 [N]: each class is split alike.
    """
    classes = np.zeros(len(groups), np.int64)
    if labels is not None:
        classes = np.unique(labels, return_inverse=True)[1].reshape(-1)
    names, members = np.unique(groups, return_inverse=True)
    members = members.reshape(-1)
    held = _Held.of(members, classes)
    totals = np.bincount(classes, minlength=1)
    lacking = np.outer(np.array([*shares.values()]), totals).astype(np.float64)
    return _dealt(held, lacking, _mixed(names, seed))[members]


class _Held(NamedTuple):
    """How many samples of which class each group holds."""

    begins: NDArray[np.int64]
    """Where the rows of each group begin, [G + 1]."""

    classes: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, members: NDArray[np.int64], classes: NDArray[np.int64]) -> Self:
        width = int(classes.max(initial=0)) + 1
        pairs, counts = np.unique(members * width + classes, return_counts=True)
        owners = pairs // width
        groups = int(members.max(initial=-1)) + 1
        begins = np.searchsorted(owners, np.arange(groups + 1))
        return cls(begins, pairs % width, counts)


def _mixed(names: NDArray[np.uint64], seed: int) -> NDArray[np.int64]:
    """Return an order of groups that knows nothing of the order of their hashes."""
    prefix = f"split\0{seed}\0".encode()
    data = names.tobytes()
    digests = bytearray()  # grows in place: a join would hold a million objects
    for at in range(0, len(data), 8):
        digests += blake2b(prefix + data[at : at + 8], digest_size=8).digest()
    return np.argsort(np.frombuffer(digests, ">u8"), kind="stable")


def _dealt(
    held: _Held, lacking: NDArray[np.float64], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Deal groups to parts, each to the one that lacks most of what it holds.

    Large groups come first: what they tear open small ones can fill.

    Args:
        held: What each group holds.
        lacking: Samples of each class that each part is to have, [parts, classes].
        order: Groups in the order in which those of one size come.
    """
    begins, classes, counts = held
    sizes = np.add.reduceat(counts, begins[:-1]) if len(order) else counts
    part = np.empty(len(order), np.int64)
    for group in order[np.argsort(-sizes[order], kind="stable")].tolist():
        rows = slice(begins[group], begins[group + 1])
        chosen = int((lacking[:, classes[rows]] @ counts[rows]).argmax())
        part[group] = chosen
        lacking[chosen, classes[rows]] -= counts[rows]
    return part
