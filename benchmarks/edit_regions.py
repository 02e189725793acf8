"""Regions of photos edited: what stays the same, how seams look, what it takes.

    python benchmarks/edit_regions.py runs/edits
    python benchmarks/edit_regions.py runs/edits --only cabinets
    python benchmarks/edit_regions.py runs/edits --figure docs/edit-regions.png

Sets: rendered cabinets of 12 Mpx (one of three stored sideways, EXIF orientation 6),
and, where they are there, blood cells with boxes, cables with masks, and one photo in
all EXIF orientations. Editors: a Stable Diffusion of random weights, which paints
noise, and patches cut out of other photos of the set. Everything is checked from the
files that were written: pixels where ``edit.png`` is 0 against the parent's, boxes and
masks against the parent's. Each case runs in a process of its own.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import fiberaug
from fiberaug.decode.header import ImageLimits
from fiberaug.decode.image import decode_image, decode_mask
from fiberaug.decode.orientation import upright
from fiberaug.demo.material import pack_cabinets
from fiberaug.demo.scene import soft_noise
from fiberaug.editing import EditOptions, Editor, edit_photo, edit_pool, remake
from fiberaug.editing.parents import Parents
from fiberaug.editing.sample import EDIT
from fiberaug.shards.opening import open_shard
from fiberaug.shards.reader import ShardRef
from fiberaug.synthetic.provenance import Provenance

HERE = Path(__file__).parents[1]
DATA = Path(os.environ.get("FIBERAUG_DATA", HERE.parent / "shared/data"))
CABINETS, PHOTOS = 3, 6
COLOURS = {0: (46, 204, 250), 1: (90, 230, 90), 2: (250, 120, 60), 3: (230, 90, 230)}


class Clippings:
    """Makes patches of a class: objects cut out of photos, enlarged a little or not.

    Args:
        folder: A set with boxes.
        skip: Photos from the first that nothing is cut out of.
    """

    def __init__(self, folder: Path, skip: int = 0, most: int = 40) -> None:
        dataset = fiberaug.StreamingDataset(str(folder), train=False)
        self.classes = tuple(Parents.open(folder).reading.classes)
        self._patches: dict[int, list[NDArray[np.uint8]]] = {}
        for i, one in enumerate(dataset):
            if i < skip or i > skip + 20:
                continue
            image = one["image"].numpy().transpose(1, 2, 0)
            for box, label in zip(one["bboxes"].int().tolist(), one["bbox_labels"],
                                  strict=True):  # fmt: skip
                x0, y0, x1, y1 = (max(0, edge) for edge in box)
                held = self._patches.setdefault(int(label), [])
                if min(x1 - x0, y1 - y0) >= 8 and len(held) < most:
                    held.append(image[y0:y1, x0:x1].copy())

    def describe(self) -> dict[str, Any]:
        """Return its kind and how many patches it has."""
        return {"kind": "clippings", "params": {"patches": sum(
            len(one) for one in self._patches.values())}}  # fmt: skip

    def generate(
        self, seeds: Sequence[int], labels: Sequence[int]
    ) -> NDArray[np.uint8]:
        """Return one patch of a class, uint8 [1, h, w, 3]."""
        held = self._patches[labels[0]]
        return held[seeds[0] % len(held)][None]


class Weather:
    """Lets what it sees rust: a procedural editor for pictures in the docs."""

    def describe(self) -> dict[str, Any]:
        """Return its kind; the hash stands for its code."""
        return {"kind": "procedural", "sha256": "0" * 64}

    def generate(
        self, seeds: Sequence[int], labels: Sequence[int], **told: Any
    ) -> NDArray[np.uint8]:
        """Return a window with rust on it, uint8 [1, h, w, 3]."""
        del labels  # everything rusts
        image = told["image"][0].astype(np.float32)
        rng = np.random.default_rng(seeds[0])
        high, wide = image.shape[:2]
        coarse = soft_noise(rng, (high, wide), cells=(high // 60, wide // 60))
        fine = soft_noise(rng, (high, wide), cells=(high // 5, wide // 5))
        share = np.clip(0.62 + 0.03 * coarse + 0.1 * fine, 0.2, 0.92)[:, :, None]
        rust = np.array([139, 74, 38], np.float32)
        shade = image.mean(axis=2, keepdims=True) / 150 + 0.25
        made = image * (1 - share) + np.clip(rust * shade, 0, 255) * share
        return np.clip(made, 0, 255).astype(np.uint8)[None]


class Case(NamedTuple):
    """One set edited in one way."""

    source: str
    editor: str
    options: Mapping[str, Any]
    split: str | None = None
    limit: int | None = None


PIPELINE = {"prompt": "a photo of {label}", "steps": 2, "most": 2}
SMALL = {**PIPELINE, "window": 256, "most": 1}  # for photos of 640x480
CASES = {
    "cabinets-background": Case("cabinets", "inpaint", {
        **PIPELINE, "region": "grid", "what": "background"}),
    "cabinets-object": Case("cabinets", "inpaint", {
        **PIPELINE, "region": "bboxes"}),
    "cabinets-cables": Case("cabinets", "inpaint", {
        **PIPELINE, "region": "mask", "most": 2}),
    "cabinets-paste": Case("cabinets", "paste", {
        "mode": "paste", "region": "bboxes", "match": True, "most": None}),
    "bccd-background": Case("bccd", "inpaint", {
        **SMALL, "what": "background"}, limit=PHOTOS),
    "bccd-object": Case("bccd", "inpaint", {**SMALL}, limit=PHOTOS),
    "bccd-paste": Case("bccd", "paste", {
        "mode": "paste", "match": True, "most": None}, limit=PHOTOS),
    "cables-background": Case("cables", "inpaint", {
        **SMALL, "region": "grid", "what": "background"}, limit=PHOTOS),
    "cables-object": Case("cables", "inpaint", {
        **SMALL, "region": "mask", "ignore": 128}, limit=PHOTOS),
    "orientations": Case("orientations", "image-to-image", {
        **SMALL, "mode": "image-to-image", "region": "grid"}),
}  # fmt: skip


def prepare(name: str, folder: Path) -> Path | None:
    """Return the shards of a set, made where they are not there; None: no data."""
    out = folder / ("more" if name == "others" else name)
    if (out / "dataset.json").exists():
        return out
    if name == "cabinets":
        pack_cabinets(out, cabinets=CABINETS, size=(3024, 4032))
        return out
    if name == "others":
        pack_cabinets(out, cabinets=CABINETS + 1, size=(3024, 4032))
        return out
    if not DATA.is_dir():
        return None
    if name == "bccd":
        fiberaug.convert(DATA / "bccd", out, source="voc", workers=1, keep_order=True,
                         progress=False)  # fmt: skip
    elif name == "orientations":
        fiberaug.convert(DATA / "exif-orientation", out, workers=1, keep_order=True,
                         progress=False)  # fmt: skip
    else:
        with fiberaug.ShardWriter(out, classes=("background", "cable")) as writer:
            for path in sorted((DATA / "cables").rglob("*_mask_all.png")):
                photo = path.with_name(path.name.replace("_mask_all.png", ".jpg"))
                if photo.exists():
                    key = f"{path.parent.name}/{photo.stem}"
                    mask = np.asarray(Image.open(path).convert("L")) > 127
                    writer.write({
                        "__key__": key, "image": photo.read_bytes(),
                        "mask": mask.astype(np.uint8),
                    })  # fmt: skip
    return out


def editor_of(case: Case, folder: Path) -> Any:
    """Return what edits."""
    if case.editor == "paste":
        source = prepare("others" if case.source == "cabinets" else case.source, folder)
        assert source is not None
        return Clippings(source, skip=CABINETS if case.source == "cabinets" else PHOTOS)
    from fiberaug.pretrained import PretrainedPipeline  # noqa: PLC0415  # torch: 1 s

    base = folder / "tiny"
    if not base.exists():
        sys.path.insert(0, str(HERE / "tests"))
        from tiny_pipelines import write_stable_diffusion  # noqa: PLC0415  # from there

        write_stable_diffusion(base)
    return PretrainedPipeline.open(base, mode=case.editor, device="cpu")


def samples(folder: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield keys and members of a pool."""
    for entry in fiberaug.Pool.open(folder).manifest.shards:
        path = str(folder / entry.name)
        shard = open_shard(ShardRef(path=path, index=f"{path}.idx"))
        for i in range(len(shard.index)):
            members = {k: bytes(v) for k, v in shard.read(i).items()}
            yield shard.index.key(i), members


def run(name: str, folder: Path) -> dict[str, Any] | None:
    """Edit a set, check what was written, and return figures."""
    case = CASES[name]
    source = prepare(case.source, folder)
    if source is None:
        return None
    generator = editor_of(case, folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out = folder / f"pool-{name}"
    shutil.rmtree(out, ignore_errors=True)
    began = time.perf_counter()
    options = {"mode": "inpaint"} | dict(case.options)
    pool = edit_pool(source, generator, out, limit=case.limit, progress=False,
                     **options)  # fmt: skip
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = check(source, pool, generator)
    windows = pool.file.checks["windows"]
    return figures | {
        "windows": windows, "s_a_window": round(seconds / windows, 2),
        "seam_mean": pool.file.checks["seam_ratio_mean"],
        "seam_most": pool.file.checks["seam_ratio_most"],
        "labels": pool.file.checks["objects"],
        "rss_before_mib": round(before), "rss_peak_mib": round(peak),
        "refused": pool.file.counts["edited"]["rejected"],
    }  # fmt: skip


def check(source: Path, pool: Any, generator: Any) -> dict[str, Any]:
    """Return what is the same in a pool and its parents, found from their files."""
    parents = Parents.open(source)
    decoder = parents.reading.decoder
    shards = {ref.name: open_shard(ref) for ref in parents.shards.refs}
    found = {"photos": 0, "sideways": 0, "changed_px": 0, "outside_px": 0,
             "outside_differing": 0, "boxes": 0, "boxes_kept": 0, "mask_px": 0,
             "mask_px_kept": 0, "remade": 0}  # fmt: skip
    edited = Parents.open(pool.path).reading.decoder
    editor = Editor(generator, EditOptions.from_dict(pool.file.asked["edit"]),
                    parents.reading.classes)  # fmt: skip
    first = True
    for _, members in samples(pool.path):
        said = Provenance.from_dict(json.loads(members["json"])["provenance"])
        shard = shards[said.parents[0].shard]
        row = shard.index.find(said.parents[0].key)
        old = {k: bytes(v) for k, v in shard.read(row).items()}
        was, header = decoder(old)
        now = edited(members).fields
        plane = decode_mask(members[EDIT], limits=ImageLimits())
        changed = upright(plane, header.orientation)
        away = (was["image"] != now["image"]).any(axis=2)
        found["photos"] += 1
        found["sideways"] += header.orientation >= 5
        found["changed_px"] += int((changed > 0).sum())
        found["outside_px"] += int((changed == 0).sum())
        found["outside_differing"] += int((away & (changed == 0)).sum())
        if "bboxes" in was:
            there = {tuple(box) for box in now["bboxes"].tolist()}
            found["boxes"] += len(was["bboxes"])
            found["boxes_kept"] += sum(
                tuple(b) in there for b in was["bboxes"].tolist()
            )
        if was.get("mask") is not None:
            found["mask_px"] += was["mask"].size
            found["mask_px_kept"] += int((was["mask"] == now["mask"]).sum())
        if first:  # it takes as long as the edit did
            remake(old, said, editor, parents.reading)
            found["remade"] += 1
            first = False
    return found


def sizes(folder: Path) -> dict[str, Any]:
    """Return what each way to store edited photos keeps, and how large it is."""
    found = {}
    for name in ("cabinets", "bccd", "cables"):
        source = prepare(name, folder)
        if source is None:
            continue
        for encode in ("png", "webp", "keep"):
            out = folder / f"store-{name}-{encode}"
            shutil.rmtree(out, ignore_errors=True)
            began = time.perf_counter()
            edit_pool(source, Weather(), out, mode="image-to-image", region="grid",
                      what="window", most=1, limit=3 if name == "cabinets" else PHOTOS,
                      encode=encode, window=256, progress=False)  # fmt: skip
            seconds = time.perf_counter() - began
            found[f"{name}-{encode}"] = _outside(source, out, seconds)
    return found


def _outside(source: Path, out: Path, seconds: float) -> dict[str, Any]:
    parents = Parents.open(source)
    shards = {ref.name: open_shard(ref) for ref in parents.shards.refs}
    count = pixels = differing = total = most = old_bytes = new_bytes = 0
    for _, members in samples(out):
        said = Provenance.from_dict(json.loads(members["json"])["provenance"])
        shard = shards[said.parents[0].shard]
        old = shard.read(shard.index.find(said.parents[0].key))
        image = parents.reading.image_of(old)
        name = next(n for n in ("png", "webp", "jpg") if n in members)
        was, header = decode_image(bytes(old[image]), limits=ImageLimits())
        now = decode_image(members[name], limits=ImageLimits())[0]
        plane = decode_mask(members[EDIT], limits=ImageLimits())
        away = np.abs(was.astype(np.int16) - now).max(axis=2)
        away = away[upright(plane, header.orientation) == 0]
        count += 1
        pixels += away.size
        differing += int((away > 0).sum())
        total += int(away.sum())
        most = max(most, int(away.max()))
        old_bytes += len(old[image])
        new_bytes += len(members[name])
    return {
        "photos": count, "outside_differing_share": round(differing / pixels, 5),
        "mean_levels": round(total / pixels, 4), "most_levels": most,
        "bytes_to_parent": round(new_bytes / old_bytes, 2),
        "s_a_photo": round(seconds / count, 2),
    }  # fmt: skip


def memory() -> dict[str, Any]:
    """Return what an edit takes beside a photo and its mask, by the photo's size."""
    found = {}
    for side in (1024, 2048, 4096, 7936):
        pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        boxes = [[200, 200, 400, 420], [600, 500, 900, 800]]
        editor = Editor(Weather(), EditOptions(mode="image-to-image"))
        tracemalloc.start()
        done = edit_photo(pixels, {"bboxes": np.array(boxes, np.float32)}, editor,
                          name="s")  # fmt: skip
        peak = tracemalloc.get_traced_memory()[1] - done.changed.nbytes
        tracemalloc.stop()
        found[f"{side * side / 1e6:.0f} Mpx"] = {
            "photo_mib": round(pixels.nbytes / 2**20, 1),
            "beside_mib": round(peak / 2**20, 1),
        }  # fmt: skip
    return found


def figure(folder: Path, path: Path) -> None:
    """Draw before, after and difference of three edits of cabinets, labels on."""
    source = prepare("cabinets", folder)
    assert source is not None
    rows = [
        ("background repainted, objects protected (EXIF 6)", Weather(), 1,
         {"mode": "image-to-image", "region": "grid", "most": None}, (1340, 420, 1560)),
        ("labels and connectors pasted from other cabinets",
         editor_of(CASES["cabinets-paste"], folder), 0,
         {"mode": "paste", "match": True, "most": None,
          "classes": ("label", "connector")}, (300, 60, 1100)),
        ("cables repainted with noise by a pipeline of random weights",
         editor_of(CASES["cabinets-cables"], folder), 2,
         {**PIPELINE, "mode": "inpaint", "region": "mask", "most": None},
         (1340, 420, 1560)),
    ]  # fmt: skip
    panels = [_row(source, *row) for row in rows]
    picture = np.concatenate(panels)
    small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    Image.fromarray(small).quantize(256).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def _row(
    source: Path,
    title: str,
    generator: Any,
    number: int,
    options: Mapping[str, Any],
    crop: tuple[int, int, int],
) -> NDArray[np.uint8]:
    parents = Parents.open(source)
    fields = None
    for job in parents.jobs(1, None):
        if job.number == number:
            shard = parents.open_shard(job.shard)
            fields = parents.reading.decoder(shard.read(job.row)).fields
    assert fields is not None
    fields = _part(fields, crop)
    before = np.asarray(fields["image"])
    after = before.copy()
    editor = Editor(generator, EditOptions.from_dict(options), parents.reading.classes)
    done = edit_photo(after, fields, editor, name=str(number))
    differing = int(((before != after).any(axis=2) & (done.changed == 0)).sum())
    assert differing == 0, "nothing changed outside"
    away = np.abs(before.astype(np.int16) - after).max(axis=2).astype(np.uint8)
    heat = cv2.applyColorMap(np.clip(away.astype(int) * 2, 0, 255).astype(np.uint8),
                             cv2.COLORMAP_INFERNO)[:, :, ::-1]  # fmt: skip
    outside = int((done.changed == 0).sum())
    titles = ("before", "after", f"difference; 0 of {outside:,} px outside")
    drawn = [
        _panel(image, fields, text)
        for image, text in zip((before, after, heat), titles, strict=True)
    ]
    head = np.full((64, 3 * 1000 + 2 * 24, 3), 255, np.uint8)
    cv2.putText(head, title, (8, 46), cv2.FONT_HERSHEY_SIMPLEX, 1.25, (20, 20, 20), 3,
                cv2.LINE_AA)  # fmt: skip
    gap = np.full((drawn[0].shape[0], 24, 3), 255, np.uint8)
    body = np.concatenate([drawn[0], gap, drawn[1], gap, drawn[2]], axis=1)
    return np.concatenate([head, body, np.full((20, body.shape[1], 3), 255, np.uint8)])


def _part(fields: Mapping[str, Any], crop: tuple[int, int, int]) -> dict[str, Any]:
    """Return a part of a photo with the boxes that lie in it, so that it goes fast."""
    x, y, side = crop
    boxes = np.asarray(fields["bboxes"]) - (x, y, x, y)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    there = ((middles > 0) & (middles < side)).all(axis=1)
    return {
        "image": fields["image"][y : y + side, x : x + side],
        "mask": fields["mask"][y : y + side, x : x + side],
        "bboxes": boxes[there], "bbox_labels": fields["bbox_labels"][there],
    }  # fmt: skip


def _panel(
    image: NDArray[np.uint8], fields: Mapping[str, Any], text: str
) -> NDArray[np.uint8]:
    side = image.shape[0]
    scale = 1000 / side
    drawn = np.ascontiguousarray(
        cv2.resize(image, (1000, 1000), interpolation=cv2.INTER_AREA)
    )
    plane = cv2.resize((fields["mask"] > 0).astype(np.uint8), (1000, 1000),
                       interpolation=cv2.INTER_NEAREST)  # fmt: skip
    edges, _ = cv2.findContours(plane, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(drawn, edges, -1, (255, 255, 255), 2, cv2.LINE_AA)
    for box, label in zip(fields["bboxes"], fields["bbox_labels"], strict=True):
        corners = np.array(box).reshape(2, 2) * scale
        low, high = (tuple(int(v) for v in corner) for corner in corners)
        cv2.rectangle(drawn, low, high, COLOURS[int(label)], 4, cv2.LINE_AA)
    cv2.rectangle(drawn, (0, 944), (24 + 20 * len(text), 1000), (0, 0, 0), cv2.FILLED)
    cv2.putText(drawn, text, (12, 984), cv2.FONT_HERSHEY_SIMPLEX, 1.1, (255, 255, 255),
                2, cv2.LINE_AA)  # fmt: skip
    return drawn


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", help="beginning of the names of cases")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--figure", type=Path)
    told = parser.parse_args()
    told.folder.mkdir(parents=True, exist_ok=True)
    if told.figure is not None:
        figure(told.folder, told.figure)
        return
    if told.case is not None:
        ways = {"sizes": lambda: sizes(told.folder), "memory": memory}
        way = ways.get(told.case, lambda: run(told.case, told.folder))
        print(json.dumps(way()))
        return
    results = {}
    for name in (*CASES, "sizes", "memory"):
        if told.only and not name.startswith(told.only):
            continue
        done = subprocess.run(
            [sys.executable, __file__, str(told.folder), "--case", name],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        results[name] = json.loads(done.stdout.splitlines()[-1])
        print(name, json.dumps(results[name]), flush=True)
    path = told.folder / "edit-regions.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | results, indent=1))


if __name__ == "__main__":
    main()
