"""What a pool is to be: all that its samples depend on, in one value."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fiberaug.jobs.plain import resolve_any
from fiberaug.params import encode
from fiberaug.sizes import parse_bytes
from fiberaug.synthetic.asking import MOST_TRIES, Asked
from fiberaug.synthetic.imagefile import QUALITY
from fiberaug.synthetic.options import PoolOptions
from fiberaug.synthetic.study import Study

__all__ = ["Commission"]

_VERSION = 1  # raised when the same commission gives other bytes
_PASSING = ("device",)  # what a generator says that its images do not depend on


@dataclass(frozen=True)
class Commission:
    """A generator and what is asked of it."""

    options: PoolOptions
    studied: Study

    @property
    def asked(self) -> Asked:
        """Samples of each class."""
        return self.options.asked(self.studied.names)

    @property
    def threshold(self) -> float | None:
        """What the classifier must say at least; None: there is none."""
        return self.options.least_confidence(self.asked)

    @property
    def shard_size(self) -> int:
        """Bytes of a shard."""
        return parse_bytes(self.options.shard_size, name="shard_size")

    @cached_property
    def plain(self) -> dict[str, Any]:
        """All that matters, as what JSON has: the same makes the same pool.

        A generator that gives no hash of its weights is known by a first sample.
        """
        options, asked = self.options, self.asked
        described = self.studied.description
        generator = {k: v for k, v in described.items() if k not in _PASSING}
        if "sha256" not in generator:
            generator["probe"] = self.studied.probe
        against = None
        if options.against is not None:
            against = resolve_any(options.against).fingerprint
        wanted = {
            "pool": _VERSION,
            "generator": generator,
            "source_type": self.studied.source_type,
            "classes": list(self.studied.names),
            "counts": {asked.name(label): n for label, n in asked.counts.items()},
            "seed": options.seed,
            "conditions": encode(dict(options.conditions)),
            "encoding": options.encoding,
            "quality": QUALITY if options.encoding == "jpeg" else None,
            "shard_size": self.shard_size,
            "dedupe": options.dedupe,
            "most_tries": MOST_TRIES,
            "filter": self._filter(),
            "against": against,
            "split": options.split,
            "licence": options.licence or described.get("licence"),
        }
        plain: dict[str, Any] = json.loads(json.dumps(wanted))
        return plain

    def _filter(self) -> dict[str, Any] | None:
        function = self.options.filter
        if function is None:
            return None
        from fiberaug.augment.opaque import callable_name, source_hash  # noqa: PLC0415  # torch: 1 s

        try:
            source = source_hash(function)
        except RuntimeError:  # of parameters that need a gradient
            source = None
        return {
            "name": callable_name(function), "source": source,
            "threshold": self.threshold,
        }  # fmt: skip
