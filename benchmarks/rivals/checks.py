"""Whether what was delivered is what was asked for; a fast wrong answer is no result.

Every check returns sentences; none means that all is well. The draws that are expected
come from a simulation of the published algorithm, not from any library that races.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["apart", "compare", "expected_crops", "judge_probe", "judge_run"]

LAYOUTS = {"rrc": "float32 [3, 224, 224]", "detection": "uint8 [3, 640, 640]"}
LAYOUTS["heavy"] = LAYOUTS["rrc"]
APART = 2.6
"""Largest distance of two distributions, in units of sqrt(1/n + 1/m): the
Kolmogorov-Smirnov statistic that chance exceeds once in 370,000 comparisons."""

TEXTURES = {
    "brightness": 0.06, "contrast": 0.12, "colour": 0.15, "brightness_spread": 0.15,
    "edges": 0.3, "edges_low": 0.4, "edges_high": 0.35,
}  # fmt: skip
"""Largest relative difference to the reference. Edges differ with resampling."""

ENOUGH = 512
"""Images that tell what the crops and colours of a loader are like."""

GRAY = 0.06
"""Largest difference of the share of gray images."""

PIXELS = {"mean": 0.15, "std": 0.1}
"""Largest difference of mean and deviation of pixels, in standard deviations."""


def judge_run(
    run: Mapping[str, Any],
    *,
    work: str,
    about: Mapping[str, Any],
    batch: int,
) -> list[str]:
    """Return what is wrong with a timed run by itself.

    Args:
        run: What the rival's process wrote.
        work: Kind of work.
        about: ``photos`` and ``labels`` (photos by label) of the input.
        batch: Rows of a batch; a loader may fill its last one from the next epoch.
    """
    wrong = []
    for part in ("warmup", "timed"):
        layouts = set(run[part]["layouts"])
        if layouts != {LAYOUTS[work]}:
            wrong.append(f"batches are {sorted(layouts)}, not {LAYOUTS[work]}")
        wrong += _counts(part, run[part]["images"], about["photos"], batch)
    labels, known = run["warmup"].get("labels"), about["labels"]
    if labels is not None:
        epochs = round(run["warmup"]["images"] / about["photos"])
        off = sum(
            abs(labels.get(label, 0) - epochs * known.get(label, 0))
            for label in {*labels, *known}
        )
        if off > epochs * (batch - 1):
            wrong.append(f"labels of {off} images are not those of the input")
    return wrong


def _counts(part: str, images: int, photos: int, batch: int) -> list[str]:
    epochs = max(1, round(images / photos))
    if abs(images - epochs * photos) < epochs * batch:
        return []
    return [f"{part}: {images} images are no whole epochs of {photos}"]


def compare(
    runs: Sequence[Mapping[str, Any]],
    known: Sequence[Mapping[str, Any]],
    smooth: Sequence[Mapping[str, Any]] | None = None,
) -> list[str]:
    """Return in what the pixels of runs are not like those of the reference's runs.

    Args:
        runs: Runs of one entrant on a task.
        known: Those of the reference.
        smooth: Those of a loader that smooths when it shrinks, for an entrant that
            does, too: its edges may be as low as these. None: it does not. Empty: it
            does, and nothing is known of how low they may be.
    """
    wrong = []
    if min(run["texture"]["images"] for run in (*runs, *known)) < ENOUGH:
        return wrong
    for name in (*TEXTURES, "gray"):
        a, b = (_mean(which, "texture", name) for which in (runs, known))
        part = TEXTURES.get(name, 0)
        high, low = b * (1 + part), b * (1 - part)
        if name == "gray":
            high, low = b + GRAY, b - GRAY
        if smooth is not None and name.startswith("edges"):
            low = min(low, _mean(smooth, "texture", name) * (1 - part) if smooth else 0)
        if not low <= a <= high:
            wrong.append(f"{name} of the images is {a:.4f}, with the reference {b:.4f}")
    spread = _mean(known, "timed", "std").max()
    for name, scale in PIXELS.items():
        a, b = (_mean(which, "timed", name) for which in (runs, known))
        if np.abs(a - b).max() > scale * spread:
            wrong.append(
                f"{name} of pixels is {a.round(3)}, with the reference {b.round(3)}"
            )
    return wrong


def _mean(runs: Sequence[Mapping[str, Any]], part: str, name: str) -> np.ndarray:
    return np.mean([run[part][name] for run in runs], axis=0)


def apart(a: Sequence[float], b: Sequence[float]) -> float:
    """Return the Kolmogorov-Smirnov distance of two samples, over sqrt(1/n + 1/m)."""
    a, b = np.sort(a), np.sort(b)
    both = np.concatenate([a, b])
    gaps = np.searchsorted(a, both, "right") / len(a)
    gaps = gaps - np.searchsorted(b, both, "right") / len(b)
    return float(np.abs(gaps).max() / math.sqrt(1 / len(a) + 1 / len(b)))


def expected_crops(width: int, height: int, count: int) -> dict[str, np.ndarray]:
    """Return share of the area, aspect and centre of crops as the paper draws them.

    Area uniform in [0.08, 1] of the photo, log of the aspect uniform in [log 3/4,
    log 4/3], ten attempts to lie within the photo (Szegedy et al. 2015, as torchvision
    has written it down); after ten, the largest central crop of an aspect in bounds.
    """
    rng = np.random.default_rng(0)
    rows = np.empty((count, 4))
    for row in rows:
        w, h = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
        x, y = width / 2, height / 2
        for _ in range(10):
            area = rng.uniform(0.08, 1) * width * height
            aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
            wide, high = (
                round(math.sqrt(area * aspect)),
                round(math.sqrt(area / aspect)),
            )
            if 0 < wide <= width and 0 < high <= height:
                w, h = wide, high
                x = rng.integers(0, width - w, endpoint=True) + w / 2
                y = rng.integers(0, height - h, endpoint=True) + h / 2
                break
        row[:] = w * h / (width * height), w / h, x / width, y / height
    return dict(zip(("area", "aspect", "x", "y"), rows.T, strict=True))


def judge_probe(
    found: Mapping[str, Any],
    *,
    probe: Mapping[str, Any],
    photos: int,
    batch: int,
    reference: Mapping[str, Any] | None = None,
) -> tuple[list[str], dict[str, float]]:
    """Return what is wrong with the crops that were made, and figures of them.

    Args:
        found: What the rival's process wrote of the probe.
        probe: ``kind``, ``width`` and ``height`` of its photos.
        photos: Photos of the probe; each must have come, once.
        batch: Rows of a batch; so many less one may have come a second time.
        reference: What the reference wrote; boxes are compared with it.
    """
    rows = {name: [row[name] for row in found["probe"]] for name in found["probe"][0]}
    means = {name: round(float(np.mean(values)), 4) for name, values in rows.items()}
    wrong = _once(found["warmup"], photos, batch)
    if "flip" in rows and abs(means["flip"] - 0.5) > 2.5 / math.sqrt(len(rows["flip"])):
        wrong.append(f"{means['flip']:.1%} of the images are flipped")
    for name in ("upright", "match"):
        if name in rows and means[name] < 0.999:
            wrong.append(f"{1 - means[name]:.1%} of the images are not {name}")
    if probe["kind"] == "boxes":
        wrong += [
            f"the {name} fits the pixels of {share:.1%} of the images"
            for name in ("box", "mask")
            if (share := float(np.mean(np.array(rows[name]) > 0.9))) < 0.97
        ]
        known = None if reference is None else [r["area"] for r in reference["probe"]]
        pairs = {} if known is None else {"area": known}
    else:
        pairs = expected_crops(probe["width"], probe["height"], 20_000)
    for name in set(pairs) & set(rows):
        means[f"{name}_apart"] = round(apart(rows[name], pairs[name]), 2)
        if means[f"{name}_apart"] > APART:
            wrong.append(
                f"{name} of the crops is distributed otherwise than asked for"
                f" ({means[f'{name}_apart']} of at most {APART})"
            )
    return wrong, means


def _once(facts: Mapping[str, Any], photos: int, batch: int) -> list[str]:
    extra = facts["images"] - photos
    if not 0 <= extra < batch:
        return [f"{facts['images']} images of {photos} photos in an epoch"]
    missing = photos - len(facts["labels"]) if "labels" in facts else 0
    return [f"{missing} photos did not come in an epoch"] if missing > 0 else []
