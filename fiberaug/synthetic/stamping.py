"""Where each sample of a pool comes from, stated in its JSON member."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.shards.reader import ShardRef
from fiberaug.synthetic.made import MadeSample
from fiberaug.synthetic.provenance import (
    FIELD,
    Checks,
    Generated,
    Parameters,
    Parent,
    Provenance,
)

__all__ = ["Stamp"]

_PARAMETERS = frozenset(Parameters.__dataclass_fields__) - {
    "seed", "index", "others", "more",
}  # fmt: skip


class Stamp:
    """States where the samples of one pool come from.

    What a sample cost is not in it: its bytes would differ from run to run.

    Args:
        description: What the generator says of itself.
        source_type: IPTC's digital source type.
        names: Class names by label.
        labelled: Whether labels mean anything.
        conditions: What the generator was told.
        split: The part that parents are of, where nothing says so.
        checked: Checks that were made: ``copies``, ``duplicates``.

    Raises:
        UsageError: The description is not what a provenance holds.
    """

    def __init__(
        self,
        description: Mapping[str, Any],
        *,
        source_type: str,
        names: tuple[str, ...],
        labelled: bool,
        conditions: Mapping[str, Any],
        split: str | None,
        checked: frozenset[str],
    ) -> None:
        self._source_type, self._names, self._labelled = source_type, names, labelled
        self._conditions, self._split = dict(conditions), split
        self._checked = checked
        trained = description.get("trained_on")
        if isinstance(trained, Mapping):
            trained = trained.get("fingerprint")
        self._generator = Generated(
            kind=description["kind"], class_name=description["class"],
            sha256=description.get("sha256"), name=description.get("name"),
            licence=description.get("licence"), trained_on=trained,
            lora=tuple(description.get("lora") or ()),
        )  # fmt: skip

    def put(self, made: MadeSample, key: str, notes: Mapping[str, Any]) -> MadeSample:
        """Return a sample with its JSON member.

        Args:
            made: The sample.
            key: Its key.
            notes: What the generator says of it.

        Raises:
            UsageError: That is not what a provenance holds.
        """
        try:
            stated = self._provenance(made, key, dict(notes))
            told: dict[str, Any] = {FIELD: stated.to_dict()}
            if stated.parents:
                told["group"] = stated.parents[0].key
            text = json.dumps(told, sort_keys=True, allow_nan=False)
        except (UsageError, TypeError, ValueError) as error:
            reason = error.message if isinstance(error, UsageError) else str(error)
            raise UsageError(
                f"what the generator says of a sample is no provenance: {reason}",
                key=key,
            ) from None
        parts = tuple(parent.split or "" for parent in stated.parents)
        return made._replace(text=text, parts=parts)

    def _provenance(
        self, made: MadeSample, key: str, notes: dict[str, Any]
    ) -> Provenance:
        told = self._conditions | dict(notes.pop("params", {}))
        known = {name: told.pop(name) for name in _PARAMETERS & told.keys()}
        origin = notes.pop("label_origin", "conditioned")
        safety = notes.pop("safety", "not_run")
        parents = tuple(self._parent(one) for one in notes.pop("parents", ()))
        if notes:
            raise UsageError(
                f"{next(iter(notes))!r} is unknown; there are params, parents,"
                " label_origin, safety"
            )
        named = self._labelled and bool(self._names)
        return Provenance(
            digital_source_type=self._source_type, id=key, pixels_sha256=made.pixels,
            generator=self._generator,
            params=Parameters(
                seed=made.seed, index=made.number, others=told, **known
            ),
            bytes_sha256=sha256(made.image).hexdigest(),
            dhash=f"{made.looks.hash:016x}",
            label=made.label if self._labelled else None,
            label_name=self._names[made.label] if named else None,
            label_origin=origin if self._labelled else None,
            parents=parents,
            checks=Checks(
                safety=safety, accepted=True, clf_conf=made.confidence,
                near_copy=False if "copies" in self._checked else None,
                duplicate=False if "duplicates" in self._checked else None,
            ),
            versions=_versions(),
        )  # fmt: skip

    def _parent(self, one: Any) -> Parent:  # noqa: ANN401  # of the generator
        parent = Parent(**one)
        # Batches name a shard by its place, and only its file name stays the same.
        shard = ShardRef(path=parent.shard).name if parent.shard else None
        return replace(
            parent, shard=shard or parent.shard, split=parent.split or self._split
        )


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    return {"fiberaug": version("fiberaug")}
