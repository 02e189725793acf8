"""A folder of photos to shards: `fiberaug convert` beside the loop people write.

Each is a whole process, timed alternately: wall and CPU seconds (user and system of the
process and its children). Ours shuffles, checks headers, indexes and hashes the shards,
and syncs; the loop and the copy do none of that, and end in the page cache. A small set
tells what starting costs, the large ones what the work does. ``--basetemp`` says where:
on a disk that is slower than the work the disk is measured.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import textwrap
import time
from itertools import cycle, islice
from pathlib import Path

import pytest
from sets import DATA

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


def file_system(folder):
    """Return the kind of file system that a folder lies on."""
    lines = Path("/proc/mounts").read_text().splitlines()
    mounts = [line.split()[1:3] for line in lines]
    holding = [one for one in mounts if folder.is_relative_to(one[0])]
    return max(holding, key=lambda one: len(one[0]))[1]


def make_variants(photos, folder, count):
    """Write so many files of other bytes: photos in turn, each with a comment."""
    files = sorted(path for path in photos.rglob("*.jpg") if path.is_file())
    for i, path in enumerate(islice(cycle(files), count)):
        data, note = path.read_bytes(), b"%08d" % i
        size = (len(note) + 2).to_bytes(2, "big")
        one = folder / path.parent.name / f"{i:06d}.jpg"
        one.parent.mkdir(parents=True, exist_ok=True)
        one.write_bytes(data[:2] + b"\xff\xfe" + size + note + data[2:])
    return folder


@pytest.fixture(scope="module", params=["small", "many", "large"])
def folder(request, photos, tmp_path_factory):
    """3,068 photos of 29 kB; 20,000 such; 1,100 of 6 Mpx, 390 kB."""
    smoke = request.config.getoption("--benchmark-disable")
    if smoke or request.param == "small":
        yield photos
        return
    source = photos if request.param == "many" else DATA / "big-photos"
    if not source.is_dir():
        pytest.skip("the data is not beside this checkout")
    made = tmp_path_factory.mktemp("variants")
    yield make_variants(source, made, 20_000 if request.param == "many" else 1_100)
    shutil.rmtree(made)


def bench_converting_a_folder(benchmark, folder, tmp_path):
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    rounds = 1 if benchmark.disabled else ROUNDS
    kinds = ("fiberaug", "loop", "copy")
    found = {kind: [] for kind in kinds}

    def alternate():
        for _ in range(rounds):
            for kind in kinds:
                found[kind].append(timed(kind, folder, tmp_path / kind))

    benchmark.pedantic(alternate, rounds=1)
    benchmark.extra_info["set"] = {
        "images": len(files), "mb": round(size / 1e6), "lies_on": file_system(tmp_path)
    }  # fmt: skip
    for kind, times in found.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        benchmark.extra_info[kind] = {
            "wall_s": round(wall, 2), "cpu_s": round(cpu, 2),
            "images_per_s": round(len(files) / wall),
            "mb_per_s": round(size / wall / 1e6),
            "images_per_cpu_s": round(len(files) / cpu),
            "wall_s_of_all": [round(one, 2) for one, _ in times],
            "cpu_s_of_all": [round(one, 2) for _, one in times],
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
