"""``pool.json`` of a pool that was filled."""

from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from fiberaug.jobs.copies import near_copies
from fiberaug.synthetic.commission import Commission
from fiberaug.synthetic.filling import Filling
from fiberaug.synthetic.poolfile import PoolFile
from fiberaug.synthetic.state import looks_of

__all__ = ["account_for", "refusals"]


def account_for(
    filling: Filling, commission: Commission, batch: Mapping[str, Any] | None
) -> PoolFile:
    """Return what ``pool.json`` says.

    Args:
        filling: It is done.
        commission: What was asked for.
        batch: How the generator's images depend on their batch.
    """
    state, asked = filling.state, commission.asked
    counts = {
        asked.name(label): {
            "asked": n, "made": state.made.get(label, 0),
            "accepted": state.accepted.get(label, 0),
            "rejected": dict(sorted(state.rejected.get(label, {}).items())),
        }
        for label, n in asked.counts.items()
    }  # fmt: skip
    short = any(state.accepted.get(label, 0) < n for label, n in asked.counts.items())
    height, width, channels = state.size or (0, 0, 0)
    likeness, wanted = filling.judge.likeness, commission.plain
    data = None
    if likeness is not None:
        data = {
            "fingerprint": likeness.fingerprint, "samples": len(likeness.names),
            "broken": likeness.broken,
        }  # fmt: skip
    return PoolFile(
        state="short" if short else "complete",
        generator=wanted["generator"], source_type=wanted["source_type"],
        asked=wanted, licence=wanted["licence"], counts=counts,
        size={"height": height, "width": width, "channels": channels}, data=data,
        parents={
            "samples": state.with_parents,
            "splits": dict(sorted(state.splits.items())),
        },
        checks=_checks(filling, batch),
        cost={
            "generate_s": round(state.generate_s, 3), "calls": state.calls,
            "made": sum(state.made.values()), "peak_mib": state.peak_mib,
            "device": commission.studied.description.get("device", "cpu"),
        },
        producer={"program": "fiberaug", "version": version("fiberaug")},
    )  # fmt: skip


def _checks(filling: Filling, batch: Mapping[str, Any] | None) -> dict[str, Any]:
    hashes, looks = looks_of(filling.notes)
    taken = [pixels for note in filling.notes for _, pixels in note.taken]
    clusters = int(near_copies(hashes, looks).max()) + 1 if taken else 0
    judge = filling.judge
    return {
        "batch": batch, "dedupe": judge.dedupe,
        "same_pixels": len(taken) - len(set(taken)),
        "near_copies": len(taken) - clusters,
        "against": judge.likeness is not None, "threshold": judge.threshold,
    }  # fmt: skip


def refusals(found: PoolFile) -> str:
    """Return how many samples were refused for what, in words."""
    reasons: Counter[str] = Counter()
    for told in found.counts.values():
        reasons.update(told["rejected"])
    return ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items())) or "none"
