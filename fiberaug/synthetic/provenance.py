"""Where a synthetic sample comes from, as a value that stands in its JSON member.

It is the entry ``provenance`` of the ``.json`` member. The mark in the image file (see
:mod:`fiberaug.marking`) says in one word what this says in full.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from fiberaug.errors import UsageError
from fiberaug.marking import SOURCE_TYPES
from fiberaug.synthetic.stating import check_fields, from_plain, stated, to_plain

__all__ = [
    "FIELD", "SCHEMA", "Checks", "Cost", "Generated", "Parameters", "Parent",
    "Provenance",
]  # fmt: skip

SCHEMA = "1.0"
"""Version of the format: another first number is another format."""

FIELD = "provenance"
"""Entry of a sample's JSON member."""

_HASH = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_TEXT = {"type": "string", "minLength": 1, "maxLength": 4096}
_PROMPT = {"type": "string", "maxLength": 65_536}
_COUNT = {"type": "integer", "minimum": 0}
_AMOUNT = {"type": "number", "minimum": 0}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_ANY = {"type": "object"}
_MOST_SEED = 2**128 - 1


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What made the sample: the generator."""

    kind: str = stated("gan, diffusion, procedural, ... as its maker calls it.", _TEXT)
    class_name: str = stated("Qualified name of its class.", _TEXT, name="class")
    sha256: str | None = stated("Of its folder or weights.", _HASH, default=None)
    name: str | None = stated("Its name, such as a Hub id.", _TEXT, default=None)
    licence: str | None = stated("Of its weights.", _TEXT, default=None)
    lora: tuple[str, ...] = stated(
        "SHA-256 of each adapter that was loaded.",
        {"type": "array", "items": _HASH, "maxItems": 64},
        default=tuple,
    )
    trained_on: str | None = stated(
        "Fingerprint of the data that it was trained on.", _TEXT, default=None
    )
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, "generator.")


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What the generator was told."""

    seed: int = stated(
        "Of this sample alone.",
        {"type": "integer", "minimum": 0, "maximum": _MOST_SEED},
    )
    index: int | None = stated("Number in its class.", _COUNT, default=None)
    prompt: str | None = stated("Text to follow.", _PROMPT, default=None)
    negative: str | None = stated("Text to avoid.", _PROMPT, default=None)
    steps: int | None = stated("Denoising steps.", _COUNT, default=None)
    guidance: float | None = stated(
        "Scale of guidance.", {"type": "number"}, default=None
    )
    scheduler: str | None = stated("Class of the sampler.", _TEXT, default=None)
    scheduler_sha256: str | None = stated(
        "Of the sampler's configuration.", _HASH, default=None
    )
    strength: float | None = stated(
        "Of an edit: 0 keeps the parent, 1 nothing of it.", _SHARE, default=None
    )
    control: str | None = stated(
        "What steered it: canny, depth, mask, ...", _TEXT, default=None
    )
    dtype: str | None = stated("Of the computation.", _TEXT, default=None)
    device: str | None = stated("On which it ran.", _TEXT, default=None)
    others: Mapping[str, Any] = stated(
        "Whatever else the generator was told.", _ANY, default=dict
    )
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, "params.")


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A sample that this one was made from."""

    key: str = stated("Its key.", _TEXT)
    shard: str | None = stated("File name of its shard.", _TEXT, default=None)
    sha256: str | None = stated("Of its image file.", _HASH, default=None)
    split: str | None = stated(
        "The part of the data that it is of: train, val, test, ...", _TEXT, default=None
    )
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, "parents.")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the sample took."""

    seconds: float | None = stated("Time, s.", _AMOUNT, default=None)
    device: str | None = stated("On what.", _TEXT, default=None)
    peak_mib: float | None = stated(
        "Highest memory of the device, MiB.", _AMOUNT, default=None
    )
    nfe: int | None = stated("Evaluations of the network.", _COUNT, default=None)
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, "cost.")


@dataclass(frozen=True, kw_only=True)
class Checks:
    """What was looked at after the sample was made; None: it was not looked at."""

    safety: str = stated(
        "Verdict of a safety checker.",
        {"type": "string", "enum": ["passed", "flagged", "not_run"]},
        default="not_run",
    )
    accepted: bool | None = stated(
        "Whether it came into the pool.", {"type": "boolean"}, default=None
    )
    clf_conf: float | None = stated(
        "Probability that a classifier gave its label.", _SHARE, default=None
    )
    nn_distance: float | None = stated(
        "Distance to the nearest training sample, in the features' unit.",
        _AMOUNT,
        default=None,
    )
    near_copy: bool | None = stated(
        "Whether it is nearly a training sample.", {"type": "boolean"}, default=None
    )
    duplicate: bool | None = stated(
        "Whether the pool has it twice.", {"type": "boolean"}, default=None
    )
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, "checks.")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Everything that is known of how a synthetic sample was made.

    Each field says in :func:`~fiberaug.synthetic.stating.stated` what it holds; the
    whole is published as ``fiberaug/schema/provenance.json``.

    Raises:
        UsageError: A field is not what it has to be; the message names it.
    """

    digital_source_type: str = stated(
        "Term of the IPTC NewsCodes: how the image came about.",
        {"type": "string", "enum": sorted(SOURCE_TYPES)},
    )
    id: str = stated("Names the sample in its pool.", _TEXT)
    pixels_sha256: str = stated(
        "Of the decoded image: of dtype, shape and pixels, see pixels_sha256.", _HASH
    )
    generator: Generated = stated(  # noqa: RUF009  # a field, no value
        "What made it.", {"type": "object"}, part=Generated
    )
    params: Parameters = stated(  # noqa: RUF009
        "What the generator was told.", {"type": "object"}, part=Parameters
    )
    schema: str = stated(
        "Version of this format.",
        {"type": "string", "pattern": "^1\\.[0-9]{1,4}$"},
        default=SCHEMA,
    )
    synthetic: bool = stated(
        "Always true.", {"type": "boolean", "enum": [True]}, default=True
    )
    bytes_sha256: str | None = stated(
        "Of the image file, its mark included.", _HASH, default=None
    )
    dhash: str | None = stated(
        "Perceptual hash, 64 bits.",
        {"type": "string", "pattern": "^[0-9a-f]{16}$"},
        default=None,
    )
    label: int | float | tuple[float, ...] | None = stated(
        "Class id, number, or one number a class.",
        {"type": ["integer", "number", "array"], "items": {"type": "number"}},
        default=None,
    )
    label_name: str | None = stated("Name of the class.", _TEXT, default=None)
    label_origin: str | None = stated(
        "How it got the label: asked for, its parent's, a classifier's, or mixed.",
        {"type": "string", "enum": ["conditioned", "inherited", "pseudo", "soft"]},
        default=None,
    )
    parents: tuple[Parent, ...] = stated(
        "Samples that it was made from.",
        {"type": "array", "maxItems": 64},
        default=tuple,
        part=Parent,
    )
    cost: Cost | None = stated(  # noqa: RUF009
        "What it took.", {"type": "object"}, default=None, part=Cost
    )
    checks: Checks = stated(  # noqa: RUF009
        "What was looked at.", {"type": "object"}, default=Checks, part=Checks
    )
    versions: Mapping[str, str] = stated(
        "Releases of what made it, by package.",
        {"type": "object", "additionalProperties": _TEXT},
        default=dict,
    )
    more: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)

    def to_dict(self) -> dict[str, Any]:
        """Return it as what JSON has; what is None is left out."""
        return to_plain(self)

    def to_json(self) -> str:
        """Return it as JSON, the same text for the same provenance.

        Raises:
            UsageError: A parameter is nothing that JSON can hold.
        """
        try:
            return json.dumps(self.to_dict(), sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise UsageError(f"JSON cannot hold the provenance: {error}") from error

    @classmethod
    def from_dict(cls, values: Any) -> Self:  # noqa: ANN401  # from JSON
        """Return what JSON states.

        Fields that a newer 1.x added are kept and written again.

        Raises:
            UsageError: A field is missing, unknown, or not what it has to be.
        """
        version = values.get("schema") if isinstance(values, Mapping) else None
        if isinstance(version, str) and version.partition(".")[0] != "1":
            raise UsageError(
                f"schema {version!r:.40} is of another FiberAug; this one reads 1.x"
            )
        return from_plain(cls, values, newer=_minor(version) > _minor(SCHEMA))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return what a JSON text states.

        Raises:
            UsageError: It is no JSON, or states no provenance.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"the provenance is no JSON: {error}") from error
        return cls.from_dict(values)


def _minor(version: Any) -> int:  # noqa: ANN401  # from JSON
    text = version.partition(".")[2] if isinstance(version, str) else ""
    return int(text) if text.isdecimal() and len(text) <= 4 else 0
