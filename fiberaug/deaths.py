"""What is said of a worker that died or hung."""

import logging
import signal
from collections.abc import Sequence

from fiberaug.errors import WorkerDied
from fiberaug.progress import Seen
from fiberaug.shards.reader import ShardRef
from fiberaug.watching import Death

__all__ = ["died", "place", "warn_hung"]

_log = logging.getLogger("fiberaug")
_REMEDIES = {
    "SIGKILL": "Often the machine ran out of memory: fewer workers or a smaller"
    " prefetch_factor need less",
    "SIGBUS": "Often shared memory is full: start the container with a larger"
    " --shm-size, or use fewer workers or smaller batches; or a file was cut while it"
    " was read",
    "SIGSEGV": "A library crashed; the notes of this error say in which call",
}
_OTHERWISE = "Something in the transform, a decoder or worker_init_fn ended the process"
_UNBORN = (
    "It was forked while another thread held a lock that it needs; with"
    ' multiprocessing_context="forkserver" workers are forked from a process that has'
    " no other thread"
)
_HUNG = "Raise watchdog= where a sample takes that long, 0 turns it off"


def died(
    death: Death | None,
    reason: str,
    batches: Sequence[tuple[int, int]],
    refs: Sequence[ShardRef],
) -> WorkerDied:
    """Return the error of a set of workers of which one died.

    Args:
        death: What the watch saw; None: nothing.
        reason: What torch says.
        batches: (epoch, first position) of what was asked for and not answered.
        refs: The shards.
    """
    epoch = batches[0][0] if batches else "?"
    firsts = ", ".join(str(first) for _, first in batches)
    flying = f"In flight: the batches at positions {firsts} of epoch {epoch}"
    after = "load_state_dict() continues after the last batch delivered"
    if death is None:
        return WorkerDied(
            f"{reason} {flying}. {_REMEDIES['SIGKILL']}; {after}", stage="worker"
        )
    how, remedy = _how(death)
    seen = death.seen[death.worker]
    others = [
        f"worker {number}: {place(other, refs)}"
        for number, other in enumerate(death.seen)
        if number != death.worker and other.stage not in {"start", "idle"}
    ]
    flying = "; ".join([flying, *others])
    shard = refs[seen.shard].name if 0 <= seen.shard < len(refs) else None
    error = WorkerDied(
        f"worker {death.worker} of {len(death.seen)} (pid {death.pid}) {how}, at:"
        f" {place(seen, refs)}. {flying}. {remedy}; {after}",
        shard=shard,
        key=seen.key,
        stage=seen.stage,
    )
    if death.stack:
        error.add_note(f"worker {death.worker} was here:\n{death.stack}")
    return error


def _how(death: Death) -> tuple[str, str]:
    if death.unborn:
        return f"did not begin within {death.hung_s:g} s and was ended", _UNBORN
    if death.hung_s is not None:
        return f"made no progress for {death.hung_s:g} s and was ended", _HUNG
    code = death.exitcode or 0
    if code >= 0:
        return f"ended with exit code {code}", _OTHERWISE
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}", _REMEDIES.get(name, _OTHERWISE)


def place(seen: Seen, refs: Sequence[ShardRef]) -> str:
    """Return what a process was at, in words."""
    if not 0 <= seen.shard < len(refs):
        of = f" of the batch at position {seen.batch}" if seen.batch >= 0 else ""
        return f"{seen.stage}{of if seen.stage != 'idle' else ''}"
    which = f"sample {seen.key!r}" if seen.key else f"row {seen.row}"
    return (
        f"{seen.stage} of {which} in {refs[seen.shard].name} (epoch {seen.epoch},"
        f" position {seen.position})"
    )


def warn_hung(
    seen: Seen, stack: str, *, limit_s: float, refs: Sequence[ShardRef]
) -> None:
    """Log that this process itself makes no progress."""
    _log.warning(
        "no progress for %g s, at: %s\n%s", limit_s, place(seen, refs), stack.rstrip()
    )
