r"""The whole job on a small machine: photos of cabinets, a GAN, a pool, a classifier.

    python benchmarks/cabinets.py --photos 3000 --images 200000 --memory 6GiB \
        --work cabinets/ --out cabinets/figures/

Three thousand photos of 3024x4032 px are rendered and converted, a GAN is trained on
windows of them, a pool is sampled from it, and a classifier is trained with one sample
in four from the pool. Each stage is a process of its own, with no more memory than is
given. The figures of a stage go to ``OUT/<stage>.json``, those of all to
``OUT/cabinets.json``. The same call goes on: a stage with figures is not run again.
"""

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cabinet_memory import folder_bytes, run_capped

from fiberaug.sizes import format_bytes, parse_bytes, parse_sides

STAGES = {
    "render": "photos",
    "convert": "shards",
    "train": "gan",
    "pool": "pool",
    "classify": None,
}
"""Stages in their order, and the folder of ``--work`` that each fills."""

_HERE = Path(__file__).parent
_PACKAGES = ("fiberaug", "torch", "numpy", "opencv-python-headless", "albumentations")


def parse() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=int, default=3000)
    parser.add_argument("--scenes", type=int, help="cabinets; default: --photos")
    parser.add_argument("--photo-size", default="3024x4032", help="HxW, px")
    parser.add_argument("--size", default="64x64", help="of a window, HxW, px")
    parser.add_argument("--images", type=int, default=200_000, help="shown to the GAN")
    parser.add_argument("--batch-size", type=int, default=16, help="of the GAN")
    parser.add_argument("--width", type=int, default=32, help="of the GAN's networks")
    parser.add_argument(
        "--no-judge", action="store_true", help="keep the last generator, not the best"
    )
    parser.add_argument("--per-class", type=int, default=500, help="of the pool")
    parser.add_argument("--classifier-images", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", default="6GiB", help="no stage has more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True, help="what is made")
    parser.add_argument("--out", type=Path, required=True, help="figures and logs")
    parser.add_argument(
        "--stages", default=",".join(STAGES), help="which, with commas between"
    )
    options = parser.parse_args()
    options.stages = options.stages.split(",")
    if unknown := set(options.stages) - set(STAGES):
        parser.error(f"no stages: {', '.join(sorted(unknown))}; {', '.join(STAGES)}")
    if options.photos < 12:
        parser.error(f"--photos must be at least 12, got {options.photos}")
    return options


def plan_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the stages are told."""
    return {
        "work": str(options.work.resolve()),
        "photos": options.photos,
        "scenes": options.scenes or options.photos,
        "photo_size": parse_sides(options.photo_size),
        "size": parse_sides(options.size),
        "images": options.images,
        "batch_size": options.batch_size,
        "width": options.width,
        "judge": not options.no_judge,
        "per_class": options.per_class,
        "classifier_images": options.classifier_images,
        "memory": parse_bytes(options.memory, name="--memory"),
        "workers": options.workers,
        "seed": options.seed,
    }


def run_stage(stage: str, plan: dict[str, Any], out: Path) -> dict[str, Any]:
    """Run a stage and return its figures; end where it fails."""
    told, figures = out / "plan.json", out / f".{stage}.json"
    figures.unlink(missing_ok=True)
    told.write_text(json.dumps(plan), encoding="utf-8")
    script = str(_HERE / "cabinet_stages.py")
    command = [sys.executable, script, stage, str(told), str(figures)]
    # Renderers are processes: threads in each would only wait for each other.
    threads = {"OMP_NUM_THREADS": "1"} if stage == "render" else {}
    log = out / f"{stage}.log"
    taken = run_capped(command, cap=plan["memory"], log=log, env=os.environ | threads)
    if taken.exit_code or not figures.exists():
        said = log.read_text(encoding="utf-8", errors="replace")[-3000:]
        why = f"held more than {format_bytes(plan['memory'])}" if taken.capped else said
        sys.exit(f"{stage} ended with {taken.exit_code}: {why}\n{asdict(taken)}")
    folder = STAGES[stage]
    disk = folder_bytes(Path(plan["work"]) / folder) if folder else 0
    found = json.loads(figures.read_text(encoding="utf-8"))
    figures.unlink()
    return {"disk_bytes": disk, **asdict(taken), "found": found, "plan": plan}


def told(stage: str, row: dict[str, Any], cap: int) -> str:
    """Return a line about a stage."""
    share = row["peak_tree_bytes"] / cap
    return (
        f"{stage:9} {row['seconds']:9.1f} s {row['cpu_s']:9.1f} CPU-s"
        f"  peak {format_bytes(row['peak_tree_bytes']):>8} ({share:.0%} of the cap)"
        f"  disk {format_bytes(row['disk_bytes']) if row['disk_bytes'] else '-':>8}"
        f"  {row['found']}"
    )


def main() -> None:
    """Run the stages that have no figures yet."""
    options = parse()
    plan = json.loads(json.dumps(plan_of(options)))
    for folder in (options.work, options.out):
        folder.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {}
    for stage in STAGES:
        path = options.out / f"{stage}.json"
        if stage in options.stages and not path.exists():
            row = run_stage(stage, plan, options.out)
            part = path.with_suffix(".part")
            part.write_text(json.dumps(row, indent=1), encoding="utf-8")
            part.replace(path)
        if path.exists():
            rows[stage] = json.loads(path.read_text(encoding="utf-8"))
            print(told(stage, rows[stage], plan["memory"]), flush=True)
    whole = {
        "cap_bytes": plan["memory"],
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES},
        "peak_tree_bytes": max(row["peak_tree_bytes"] for row in rows.values()),
        "disk_bytes": sum(row["disk_bytes"] for row in rows.values()),
        "seconds": round(sum(row["seconds"] for row in rows.values()), 1),
        "stages": rows,
    }
    path = options.out / "cabinets.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps(whole, indent=1), encoding="utf-8")
    part.replace(path)


if __name__ == "__main__":
    main()
