"""Photos of 12 Mpx as tiles: cut out of the bytes, out of the pixels, and by hand.

The photos are rendered cabinets, written twice with the same coefficients: as cameras
write them, and with restart markers. By hand means what people write: a torch
IterableDataset over webdataset that decodes each photo whole, cuts one random tile out
of it, and drops the rest, since a photo's tiles must not follow each other in training.
"""

import json
import os
import statistics
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest

import fiberaug
from fiberaug.demo.cabinet import render_cabinet
from fiberaug.tiling import Tiling

ROUNDS = 5
TILES = 320
TILE = {"tile": (1024, 1024), "overlap": 128}
QUALITY, MARKED = 92, 36  # 7 segments a row of 252 units
TIMED = """
    import json, sys, time, psutil

    def spent():
        tree = [psutil.Process(), *psutil.Process().children(recursive=True)]
        return sum(sum(process.cpu_times()[:2]) for process in tree)

    def timed(loader):
        batches = iter(loader)
        for _ in range(WARM // 8):
            next(batches)
        cpu, wall = spent(), time.perf_counter()
        count = 0
        while count < TILES:
            count += len(next(batches)["image"])
        print(json.dumps([time.perf_counter() - wall, spent() - cpu]))
"""
OURS = """
    import fiberaug
    data = fiberaug.StreamingDataset(
        sys.argv[1], tile=(1024, 1024), overlap=128, fields=FIELDS,
        epoch_size=WARM + 2 * TILES,
    )
    timed(fiberaug.DataLoader(data, 8, num_workers=2, collate="list"))
"""
HAND = """
    import io, random, cv2, numpy as np, torch, webdataset
    cv2.setNumThreads(0)

    def cut(sample):
        data = np.frombuffer(sample["jpg"], np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        x = random.randrange(image.shape[1] - 1023)
        y = random.randrange(image.shape[0] - 1023)
        tile = image[y : y + 1024, x : x + 1024].transpose(2, 0, 1).copy()
        return {"image": torch.from_numpy(tile)}

    shards = sorted(__import__("glob").glob(sys.argv[1] + "/*.tar"))
    data = webdataset.WebDataset(shards, shardshuffle=False, repeat=True).map(cut)
    data = data.with_epoch(WARM + TILES)
    timed(torch.utils.data.DataLoader(data, 8, num_workers=2))
"""


@pytest.fixture(scope="module")
def sets(tmp_path_factory, request):
    """Two sets of shards, and the truth: {key: (boxes, labels)}."""
    smoke = request.config.getoption("--benchmark-disable")
    size, count = ((756, 1008), 4) if smoke else ((3024, 4032), 200)
    folder = Path(os.environ.get("FIBERAUG_CABINETS", tmp_path_factory.mktemp("tiles")))
    if not (folder / "marked/dataset.json").exists():
        writers = {
            name: fiberaug.ShardWriter(folder / name, shard_size="64MB")
            for name in ("plain", "marked")
        }
        for seed in range(count):
            scene = render_cabinet(seed=seed, size=size)
            names = scene.bbox_labels
            for name, writer in writers.items():
                options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
                options += [cv2.IMWRITE_JPEG_RST_INTERVAL, MARKED * (name == "marked")]
                file = cv2.imencode(".jpg", scene.image[:, :, ::-1], options)[1]
                writer.write({
                    "__key__": f"c{seed:03d}", "jpg": file.tobytes(),
                    "mask": scene.mask, "bboxes": scene.bboxes,
                    "bbox_labels": [sorted(set(names)).index(n) for n in names],
                })  # fmt: skip
        for writer in writers.values():
            writer.close()
    return folder


def timed(code, shards, fields, tiles):
    """Return (wall seconds, CPU seconds) of a process and its workers, once warm."""
    text = textwrap.dedent(TIMED) + textwrap.dedent(code)
    text = text.replace("TILES", str(tiles)).replace("FIELDS", fields)
    text = text.replace("WARM", str(max(16, tiles // 4)))
    command = [sys.executable, "-c", text, str(shards)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall, cpu = json.loads(done.stdout)
    return wall, cpu


def bench_tiles(benchmark, sets):
    rounds, tiles = (1, 16) if benchmark.disabled else (ROUNDS, TILES)
    kinds = {
        "out of the bytes": (OURS, "marked", "'image'"),
        "out of the pixels": (OURS, "plain", "'image'"),
        "by hand": (HAND, "plain", ""),
    }
    if benchmark.disabled:  # the smoke photos are smaller than a tile
        kinds.pop("by hand")
    found = {kind: [] for kind in kinds}

    def alternate():
        for _ in range(rounds):
            for kind, (code, name, fields) in kinds.items():
                found[kind].append(timed(code, sets / name, fields, tiles))

    benchmark.pedantic(alternate, rounds=1)
    for kind, times in found.items():
        wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
        benchmark.extra_info[kind] = {
            "wall_s": round(wall, 2), "cpu_s": round(cpu, 2),
            "tiles_per_s": round(tiles / wall, 1),
            "tiles_per_cpu_s": round(tiles / cpu, 1),
            "wall_s_of_all": [round(one, 2) for one, _ in times],
        }  # fmt: skip
    benchmark.extra_info["cpu_against"] = {
        kind: round(
            statistics.median(
                theirs[1] / ours[1]
                for ours, theirs in zip(found["out of the bytes"], times, strict=True)
            ),
            2,
        )
        for kind, times in found.items()
    }
    check(sets, benchmark.extra_info)


def check(sets, info):
    """Both sets have the same tiles, and the truth of the tiles makes the truth."""
    options = TILE | {"train": False, "visibility": 0.0}
    loaders = [
        fiberaug.DataLoader(
            fiberaug.StreamingDataset(sets / name, **options), 4, num_workers=2,
            collate="list",
        )
        for name in ("plain", "marked")
    ]  # fmt: skip
    whole = fiberaug.StreamingDataset(sets / "plain", train=False)
    truth = {
        row["__key__"][0]: (row["bboxes"][0].numpy(), row["bbox_labels"][0].numpy())
        for row in fiberaug.DataLoader(whole, 1, num_workers=2)
    }
    tiles, predictions, records, peaks = 0, [], [], []
    for one, other in zip(*loaders, strict=True):
        for i, image in enumerate(one["image"]):
            assert (image == other["image"][i]).all()
            predictions.append({
                "boxes": one["bboxes"][i], "labels": one["bbox_labels"][i]
            })  # fmt: skip
            records.append(one["record"][i])
            tiles += 1
        peaks.append(worker_memory())
    merged = fiberaug.merge_tiles(predictions, records)
    cut = 0
    tiling = Tiling.of(TILE["tile"], overlap=TILE["overlap"])
    for photo in merged:
        boxes, labels = truth[photo.key]
        found = np.column_stack([photo.bboxes, photo.labels])
        given = np.column_stack([boxes, labels])
        assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, given.tolist()))
        height, width = records[0].decode["tile"]["photo"]
        windows = [
            tiling.tile(k, width, height).window
            for k in range(tiling.count(width, height))
        ]
        for x0, y0, x1, y1 in boxes:
            held = any(
                w.x_min <= x0 and w.y_min <= y0 and x1 <= w.x_max and y1 <= w.y_max
                for w in windows
            )
            cut += not held
    info["photos"], info["tiles"] = len(merged), tiles
    info["boxes"] = sum(len(boxes) for boxes, _ in truth.values())
    info["boxes_in_no_tile_whole"] = cut
    tenth = max(1, len(peaks) // 10)
    info["worker_mib_first_and_last_tenth"] = [
        round(statistics.median(part)) for part in (peaks[:tenth], peaks[-tenth:])
    ]


def worker_memory():
    """Return the most memory of its own that a process below this one has, MiB."""
    most = 0
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            text = path.read_text()
        except OSError:  # it has ended
            continue
        lines = (line.partition(":") for line in text.splitlines())
        fields = {name: value.strip() for name, _, value in lines}
        if fields.get("PPid") == str(os.getpid()):
            most = max(most, int(fields.get("RssAnon", "0 kB").split()[0]) // 1024)
    return most
