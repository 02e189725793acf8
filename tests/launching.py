"""Real ranks for tests: a script in several processes on loopback, as torchrun does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

SAMPLES = 45
"""Of the set that frameworks are tested on: 2 ranks x 4 rows, 6 steps, one short."""

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(__file__).parent / "frameworks" / "scripts"


def environment(**extra):
    """The variables of this process, less those that name a rank, and ``extra``."""
    named = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}
    kept = {k: v for k, v in os.environ.items() if k not in named}
    return kept | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "CUDA_VISIBLE_DEVICES": "",
        **extra,
    }


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def start(script, world, *arguments):
    """Start ``script`` as ``world`` ranks, with the variables that torchrun sets."""
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, str(SCRIPTS / script), *map(str, arguments)],
            env=environment(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(world),
                LOCAL_WORLD_SIZE=str(world),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]


def start_alone(script, *arguments):
    """Start ``script`` in one process, which no variable tells a rank."""
    return subprocess.Popen(
        [sys.executable, str(SCRIPTS / script), *map(str, arguments)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(processes, seconds=200):
    """Wait for all; what they printed to stderr is the reason where one failed."""
    try:
        outputs = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()  # closes the pipes
    return [
        (process.returncode, *output)
        for process, output in zip(processes, outputs, strict=True)
    ]


def run(script, world, *arguments, seconds=200):
    """Run ``script`` as ``world`` ranks; what each printed as JSON, rank by rank."""
    done = finish(start(script, world, *arguments), seconds)
    for code, _, errors in done:
        assert code == 0, errors[-4000:]
    return [json.loads(out.splitlines()[-1]) for _, out, _ in done]


def rows(batch):
    """(key, is padding) of each row of a batch, ready for JSON."""
    keys = batch["__key__"]
    pads = batch["is_pad"].tolist() if "is_pad" in batch else [False] * len(keys)
    return list(zip(keys, pads, strict=True))


def joined(ranks):
    """The keys of one pass in the order of positions; all ranks take equal steps.

    Args:
        ranks: For each rank its steps, each a list of (key, is padding).
    """
    assert len({len(steps) for steps in ranks}) == 1, [len(steps) for steps in ranks]
    for step in zip(*ranks, strict=True):
        assert len({len(part) for part in step}) == 1, "ranks have equal batches"
    return [
        key
        for step in zip(*ranks, strict=True)
        for part in step
        for key, pad in part
        if not pad
    ]
