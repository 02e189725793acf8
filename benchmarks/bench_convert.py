"""A folder of photos to shards: `fiberaug convert` beside the loop people write.

Each is a whole process, timed alternately: wall and CPU seconds (user and system of the
process and its children). Ours shuffles, checks headers, reads the shards back, indexes
and hashes them, and syncs; the loop and the copy do none of that, and end in the page
cache.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import textwrap
import time

import fiberaug

ROUNDS = 5
LOOP = """
    import sys
    from pathlib import Path
    from webdataset import ShardWriter

    source, target = map(Path, sys.argv[1:])
    classes = sorted(path.name for path in source.iterdir())
    with ShardWriter(f"{target}/shard-%06d.tar", maxsize=20e6, verbose=0) as writer:
        for path in sorted(source.rglob("*.jpg")):
            label = classes.index(path.parent.name)
            key = str(path.relative_to(source).with_suffix(""))
            writer.write({"__key__": key, "jpg": path.read_bytes(), "cls": label})
"""
COPY = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2] + '/copy')"


def command(kind, source, target):
    if kind == "fiberaug":
        return [sys.executable, "-m", "fiberaug.cli.main", "convert", str(source),
                str(target), "--workers=2", "--shard-size=20MB"]  # fmt: skip
    code = textwrap.dedent(LOOP if kind == "loop" else COPY)
    return [sys.executable, "-c", code, str(source), str(target)]


def timed(kind, source, target):
    """Return (wall seconds, CPU seconds) of one run into a new folder."""
    shutil.rmtree(target, ignore_errors=True)
    if kind != "fiberaug":
        target.mkdir(parents=True)
    os.sync()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(command(kind, source, target), check=True, capture_output=True)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def bench_converting_a_folder(benchmark, photos, tmp_path):
    files = [path for path in photos.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    rounds = 1 if benchmark.disabled else ROUNDS
    kinds = ("fiberaug", "loop", "copy")
    found = {kind: [] for kind in kinds}

    def alternate():
        for _ in range(rounds):
            for kind in kinds:
                found[kind].append(timed(kind, photos, tmp_path / kind))

    benchmark.pedantic(alternate, rounds=1)
    for kind, times in found.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        benchmark.extra_info[kind] = {
            "wall_s": round(wall, 2), "cpu_s": round(cpu, 2),
            "images_per_s": round(len(files) / wall),
            "mb_per_s": round(size / wall / 1e6),
            "images_per_cpu_s": round(len(files) / cpu),
            "wall_s_of_all": [round(one, 2) for one, _ in times],
        }  # fmt: skip
    for measure, column in (("wall", 0), ("cpu", 1)):
        for rival in ("loop", "copy"):
            ratios = [
                theirs[column] / ours[column]
                for ours, theirs in zip(found["fiberaug"], found[rival], strict=True)
            ]
            benchmark.extra_info[f"{measure}_against_{rival}"] = round(
                statistics.median(ratios), 2
            )

    # All of it is there, byte for byte.
    data = fiberaug.StreamingDataset(tmp_path / "fiberaug", train=False)
    assert data.num_samples == len(files)
    tars = b"".join(p.read_bytes() for p in (tmp_path / "fiberaug").glob("*.tar"))
    assert all(path.read_bytes() in tars for path in files[:: max(1, len(files) // 50)])
