"""The simulation of a large cluster at a small size: does a stretch extrapolate?

Figures at full size are in docs/scale.md; ``simulate_scale.py`` makes them.
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def bench_a_stretch_of_the_epoch_tells_what_a_node_touches_in_all(benchmark, tmp_path):
    smoke = benchmark.disabled
    size = {"shards": 4_000 if smoke else 40_000, "samples": 300, "ranks": 256}
    options = [f"--{name}={value}" for name, value in size.items()]
    answer = tmp_path / "figures.json"

    def simulate():
        subprocess.run(
            [sys.executable, HERE / "simulate_scale.py", *options, "--batch=16",
             "--nodes=2", "--windows=8", "--whole=2", f"--json={answer}"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    benchmark.pedantic(simulate, rounds=1)
    figures = json.loads(answer.read_text())
    assert figures["state_bytes"] < 4096
    for lanes in (64, 256):
        traffic = figures[f"traffic_{lanes}_lanes"]
        assert traffic["distinct_steps"] == 1
        for sampled, whole in zip(
            traffic["sampled"], traffic["whole_epoch"], strict=True
        ):
            assert sampled["node"] == whole["node"]
            if smoke:
                continue  # an epoch of few windows is all ends
            ratio = sampled["shards_of_an_epoch"] / whole["shards"]
            benchmark.extra_info[f"ratio_{lanes}_lanes"] = round(ratio, 3)
            assert 0.9 < ratio < 1.1
    names = ("open_s", "open_mib", "to_workers_mib", "state_bytes")
    benchmark.extra_info.update({name: figures[name] for name in names})
