"""Memory that runs out for real takes the next lever, and the training goes on."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np, torch
from fiberaug.models import Critic, Generator
from fiberaug.training import GANTrainer
from fiberaug.training.footprint_process import base_bytes
torch.set_num_threads(1)
rng = np.random.default_rng(0)
photos = rng.integers(0, 256, (64, 64, 64, 3), dtype=np.uint8)
torch.manual_seed(0)
networks = Generator(64, width=16, z_dim=8), Critic(64, width=16)
base_bytes()  # oneDNN's own
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
room = int(sys.argv[2])
trainer = GANTrainer(
    *networks, photos, out=sys.argv[1], batch_size=32, memory="100GB", judge=False,
    progress=False, held_out=0.0,
)
resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))
trainer.train(images=64)
from fiberaug.training.states import latest
from pathlib import Path
print(latest(Path(sys.argv[1])).facts["task"]["levers"]["micro_batches"])
"""


# glibc gives tensors back at once from the first step on. Without it three of sixteen
# runs at the limit ended in oneDNN all the same: what lies as holes in glibc's heap
# cannot take the code that oneDNN compiles.
MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(2**20)}


def _train(out, room):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out), str(room)],
        env=os.environ | MALLOC | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


@pytest.mark.slow
def test_a_training_that_runs_out_of_memory_goes_on_in_smaller_parts(tmp_path):
    plenty = _train(tmp_path / "plenty", 3 * 2**30)
    assert plenty.stdout.split() == ["1"], plenty.stderr
    little = _train(tmp_path / "little", 250 * 2**20)
    assert little.returncode == 0, little.stderr
    assert int(little.stdout) > 1
    assert "out of memory in step 0: goes on with micro-batches" in little.stderr
