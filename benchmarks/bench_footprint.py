"""Memory of a step as it is predicted, against what a process really took.

    python benchmarks/bench_footprint.py [--steps 3] [--out benchmarks/results/x.json]

prints the table. Each row is a process of its own: it predicts, trains some steps on
random images, and reads the most memory that it had (VmHWM of Linux, see proc(5)).
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from fiberaug.allocator import give_back_at_once
from fiberaug.models import Critic, Generator, UNet
from fiberaug.training.contracts import RealBatch
from fiberaug.training.diffusion_options import DiffusionOptions
from fiberaug.training.diffusion_workload import DiffusionWorkload
from fiberaug.training.footprint_process import base_bytes, resident_bytes
from fiberaug.training.gan_options import GANOptions
from fiberaug.training.gan_workload import GANWorkload
from fiberaug.training.levers import Levers
from fiberaug.training.shapes import shapes_of

CASES = {
    "32": {"size": (32, 32), "width": 32, "rows": 64},
    "64": {"size": (64, 64), "width": 32, "rows": 32},
    "96x128": {"size": (96, 128), "width": 32, "rows": 16},
    "256": {"size": (256, 256), "width": 16, "rows": 8},
    "windows": {"size": (64, 64), "width": 32, "rows": 32, "places": True},
    "28, labels": {"size": (28, 28), "width": 32, "rows": 64, "classes": 10},
    "128": {"size": (128, 128), "width": 24, "rows": 24},
    "own": {"size": (64, 64), "width": 32, "rows": 32, "own": True},
    "unet, 28, labels": {
        "size": (28, 28),
        "width": 32,
        "rows": 64,
        "classes": 10,
        "unet": True,
    },
    "unet, 64": {"size": (64, 64), "width": 32, "rows": 16, "unet": True},
    "unet, 128": {"size": (128, 128), "width": 16, "rows": 8, "unet": True},
}
LEVERS = {
    "none": {},
    "micro-batches": {"micro_batches": 4},
    "bf16": {"bf16": True},
    "differences, recomputed": {"finite_difference": True, "recompute": True},
}
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def bench_prediction_of_memory(benchmark):
    """A small one alone: the table is made by the program."""
    found = benchmark.pedantic(_row, args=("32", "none", 2), rounds=1)
    assert abs(found["ratio"] - 1) < 0.3
    benchmark.extra_info.update(found)


def _row(case, levers, steps):
    command = [sys.executable, __file__, "--row", case, levers, "--steps", str(steps)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _measured(case, levers, steps):
    torch.set_num_threads(1)
    wanted = dict(CASES[case])
    if wanted.get("unet"):
        UNet(8, width=8)  # diffusers is of the process
    base = base_bytes()
    before = resident_bytes()
    work, size = _work(wanted), wanted["size"]
    taken = Levers(**LEVERS[levers])
    predicted = work.needs(taken, base=base - before, beside=0)
    if taken.recompute:
        give_back_at_once()  # as a trainer does
    advance = work.task(work.networks, taken)
    batch = RealBatch(
        torch.rand(work.rows, 3, *size) * 2 - 1,
        torch.arange(work.rows) % 10 if work.conditioned else None,
        torch.zeros(work.rows, 3) if work.places else None,
    )
    RESET.write_text("5")
    for step in range(steps):
        advance(batch, step=step, nimg=step * work.rows)
    grown = _peak() - before
    return {
        "case": case, "levers": levers, "rows": work.rows, "predicted": predicted,
        "measured": grown, "ratio": round(predicted / grown, 3), "base": before,
    }  # fmt: skip


def _work(wanted):
    rows, kind = wanted.pop("rows"), "gan"
    for one in ("own", "unet"):
        kind = one if wanted.pop(one, False) else kind
    usual = {
        "rows": rows, "conditioned": bool(wanted.get("classes")),
        "places": bool(wanted.get("places")),
    }  # fmt: skip
    if kind == "unet":
        unet = UNet(**wanted)
        names = tuple(map(str, range(wanted.get("classes", 0))))
        return DiffusionWorkload(
            unet=unet, options=DiffusionOptions(), shape=unet.config.shape,
            classes=names, **usual,
        )  # fmt: skip
    generator, critic = _own(wanted["width"]) if kind == "own" else _ours(wanted)
    return GANWorkload(
        generator=generator, critic=critic, options=GANOptions(augment_share=1.0),
        photos=500, shapes=shapes_of(generator, critic), **usual,
    )  # fmt: skip


def _ours(wanted):
    return Generator(**wanted), Critic(**wanted)


def _own(width):
    """Return networks that are not ours: a DCGAN without normalisation."""
    up, down, now = [nn.ConvTranspose2d(64, 8 * width, 4)], [], 3
    for wide in (4 * width, 2 * width, width, 3):
        before = up[-1].out_channels
        up += [nn.LeakyReLU(0.2), nn.ConvTranspose2d(before, wide, 4, 2, 1)]
    for wide in (width, 2 * width, 4 * width, 8 * width):
        down += [nn.Conv2d(now, wide, 4, 2, 1), nn.LeakyReLU(0.2)]
        now = wide
    return nn.Sequential(*up), nn.Sequential(*down, nn.Conv2d(now, 1, 4), nn.Flatten(0))


def _peak():
    for line in STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{STATUS} does not say VmHWM")


def _table(rows):
    heads = ["images", "levers", "predicted MB", "measured MB", "ratio"]
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---|---|"]
    for row in rows:
        told = [f"{row[name] / 1e6:,.0f}" for name in ("predicted", "measured")]
        size = f"{row['case']}, {row['rows']} rows"
        cells = [size, row["levers"], *told, f"{row['ratio']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", nargs=2, help="one row, in this process")
    parser.add_argument("--only", nargs="*", default=list(CASES))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.row:
        print(json.dumps(_measured(*args.row, args.steps)))
        return
    rows = []
    for case in args.only:
        for levers in LEVERS:
            rows.append(_row(case, levers, args.steps))
            print(rows[-1], file=sys.stderr, flush=True)
    if args.out:
        args.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    print(_table(rows))


if __name__ == "__main__":
    main()
