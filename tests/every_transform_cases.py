"""What each transform of Albumentations is run with: arguments, fields, samples."""

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import albumentations as A
import cv2
import numpy as np
from PIL import ImageFont

import fiberaug

__all__ = [
    "CASES",
    "DTYPES",
    "REFERENCES",
    "SIZES",
    "Case",
    "darker",
    "fields_of",
    "transforms",
    "write_shards",
]

SIZES = ((96, 112), (101, 117), (112, 96), (96, 112))  # height, width, px
DTYPES = ("uint8", "float32")
BASES = (A.BasicTransform, A.DualTransform, A.ImageOnlyTransform, A.Transform3D)


def transforms() -> dict[str, type]:
    """Every transform that the library offers, by name; its base classes are none."""
    found = {name: getattr(A, name) for name in dir(A)}
    return {
        name: kind
        for name, kind in found.items()
        if isinstance(kind, type)
        and issubclass(kind, A.BasicTransform)
        and kind not in BASES
    }


class Neighbours(fiberaug.ImageProcessor):
    """Gives Mosaic its other images: an .npz holds image0, mask0, image1, ..."""

    def _process_sample(self, sample):
        held = sample["mosaic_metadata"]
        names = ("image", "mask")
        count = len(held) // len(names)
        items = [{name: held[f"{name}{i}"] for name in names} for i in range(count)]
        for item in items:
            item["bboxes"] = np.array([[4, 5, 40, 50]], np.float32)
            item["bbox_labels"] = [7]
            item["keypoints"] = np.array([[9, 9]], np.float32)
            item["keypoint_labels"] = ["other"]
        return {**sample, "mosaic_metadata": items}


def darker(image, **_):
    return image // 2 if image.dtype == np.uint8 else image * np.float32(0.5)


def _same(values, **_):
    return values


class Case(NamedTuple):
    """What a transform needs beside p."""

    arguments: Mapping[str, Any] = {}
    fields: Mapping[str, str] = {}
    """Further fields; ``{dtype}`` stands for the dtype of the image."""

    before: tuple[Any, ...] = ()
    targets: tuple[str, ...] | None = None
    """Targets beside the image, where the class does not say them rightly."""


CROP = {"height": 64, "width": 72}
REFERENCES = "refs.{dtype}.npz"
CASES = {
    "Affine": Case({"rotate": (-40, 40), "translate_px": (-9, 9), "shear": (-9, 9)}),
    "AtLeastOneBBoxRandomCrop": Case(CROP),
    "CenterCrop": Case(CROP),
    "CenterCrop3D": Case({"size": (4, 64, 72)}),
    "ConstrainedCoarseDropout": Case({"mask_indices": [1, 2]}),
    "Crop": Case({"x_min": 5, "y_min": 7, "x_max": 80, "y_max": 70}),
    "CropAndPad": Case({"px": (-9, 9)}),
    "CropNonEmptyMaskIfExists": Case(CROP),
    "FDA": Case(fields={"fda_metadata": REFERENCES}),
    "GridElasticDeform": Case({"num_grid_xy": (4, 4), "magnitude": 8}),
    "HistogramMatching": Case(fields={"hm_metadata": REFERENCES}),
    "Lambda": Case(
        {"image": darker, "mask": _same, "bboxes": _same, "keypoints": _same}
    ),
    "LongestMaxSize": Case({"max_size": 80}),
    "Mosaic": Case(
        {"target_size": (90, 100), "cell_shape": (80, 80)},
        fields={"mosaic_metadata": "mosaic.{dtype}.npz"},
        before=(Neighbours(),),
    ),
    "OverlayElements": Case(fields={"overlay_metadata": "overlay.{dtype}.npz"}),
    "Pad": Case({"padding": 6}),
    "Pad3D": Case({"padding": 2}),
    "PadIfNeeded": Case({"min_height": 128, "min_width": 120}),
    "PadIfNeeded3D": Case({"min_zyx": (12, 120, 128)}),
    "PiecewiseAffine": Case({"nb_rows": 2, "nb_cols": 2}),
    "PixelDistributionAdaptation": Case(fields={"pda_metadata": REFERENCES}),
    "RandomCrop": Case(CROP),
    "RandomCrop3D": Case({"size": (4, 64, 72)}),
    "RandomCropNearBBox": Case(fields={"cropping_bbox": "json:crop"}),
    "RandomResizedCrop": Case({"size": (64, 72)}),
    "RandomSizedBBoxSafeCrop": Case(CROP),
    "RandomSizedCrop": Case({"min_max_height": (40, 90), "size": (64, 72)}),
    "Resize": Case(CROP),
    "SmallestMaxSize": Case({"max_size": 80}),
    "Superpixels": Case({"n_segments": 40}),
    "TextImage": Case({"font_path": "font.ttf"}, {"textimage_metadata": "json:text"}),
    "TimeMasking": Case({"time_mask_param": 60}),
    "ToRGB": Case(before=(A.ToGray(num_output_channels=1, p=1),)),
    "ToTensor3D": Case(targets=("Volume", "Mask3D")),
    "XYMasking": Case(
        {
            "num_masks_x": (1, 3),
            "num_masks_y": (1, 3),
            "mask_x_length": (8, 20),
            "mask_y_length": (8, 20),
        }
    ),
}

_FIELDS = {
    "Mask": {"mask": "mask.png"},
    "BBoxes": {"bboxes": "json:objects[].bbox", "bbox_labels": "json:objects[].label"},
    "Keypoints": {"keypoints": "json:keypoints", "keypoint_labels": "json:names"},
}
_DEEP = {"Volume": {"volume": "volume.npy"}, "Mask3D": {"mask3d": "mask3d.npy"}}


def fields_of(name: str) -> dict[str, str]:
    """Fields that go through a transform with the image, and where they come from."""
    kind: Any = transforms()[name]
    own = kind._targets if isinstance(kind._targets, tuple) else (kind._targets,)
    targets = CASES.get(name, Case()).targets or [target.value for target in own]
    deep = issubclass(kind, A.Transform3D | A.ToTensor3D)
    fields: dict[str, str] = {}
    for target, found in (_FIELDS | _DEEP if deep else _FIELDS).items():
        fields |= found if target in targets else {}
    return fields


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """A picture with large and small structure, edges and noise."""
    draw = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.float32)
    for cells in (3, 8, 24):
        coarse = draw.normal(0, 400 / (cells + 5), (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    image += np.linspace(60, 190, width, dtype=np.float32)[None, :, None]
    pixels = np.ascontiguousarray(image.clip(0, 255).astype(np.uint8))
    for _ in range(4):
        x, y, r = (int(v) for v in draw.integers(12, 84, 3))
        colour = tuple(map(int, draw.integers(0, 256, 3)))
        cv2.circle(pixels, (x, y), r // 4, colour, -1)
        cv2.line(pixels, (y, x), (r, y), colour, 2)
    return pixels


def classes(seed: int, height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).uniform(0, 4, (4, 5)).astype(np.float32)
    return cv2.resize(coarse, (width, height)).clip(0, 3).astype(np.uint8)


def _npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def samples() -> Iterator[Mapping[str, Any]]:
    """Samples with everything that any transform takes."""
    for i, (height, width) in enumerate(SIZES):
        boxes = [[6, 8, 50, 60], [40, 30, 90, 90], [20, 50, 70, 80]]
        sample: dict[str, Any] = {
            "__key__": f"s{i}",
            "image": texture(i, height, width),
            "mask": classes(i, height, width),
            "volume.npy": np.stack([texture(i, height, width)[..., 0]] * 8)
            + np.arange(8, dtype=np.uint8)[:, None, None],
            "mask3d.npy": np.stack([classes(i + z, height, width) for z in range(8)]),
            "json": {
                "objects": [{"bbox": b, "label": n} for n, b in enumerate(boxes)],
                "keypoints": [[10, 12], [50.5, 40.25], [80, 88], [30, 70]],
                "names": ["eye", "hand", "foot", "knee"],
                "crop": [20, 20, 80, 70],
                "text": [
                    {"bbox": [0.1, 0.1, 0.9, 0.4], "text": "light in the cabinet"},
                    {"bbox": [0.1, 0.5, 0.8, 0.9], "text": "port 12"},
                ],
            },
        }
        for dtype in DTYPES:
            scale = 1 if dtype == "uint8" else np.float32(1 / 255)
            others = [texture(40 + 2 * i + k, height, width) * scale for k in range(2)]
            sample[f"refs.{dtype}.npz"] = _npz(a=others[0], b=others[1])
            sample[f"mosaic.{dtype}.npz"] = _npz(
                image0=others[0], mask0=classes(50 + i, height, width),
                image1=others[1], mask1=classes(60 + i, height, width),
            )  # fmt: skip
            sample[f"overlay.{dtype}.npz"] = _npz(
                image=others[0][:30, :40], bbox=np.array([0.2, 0.3, 0.7, 0.8]),
                mask=np.uint8(others[0][:30, :40, 0] > others[0].mean()),
                mask_id=np.array(9),
            )  # fmt: skip
        yield sample


def write_shards(folder: Path) -> None:
    """Write the samples to two shards, and the font beside them."""
    with fiberaug.ShardWriter(folder / "set", shard_size="1MB") as writer:
        for sample in samples():
            writer.write(sample)
    (folder / "font.ttf").write_bytes(ImageFont.load_default(12).font_bytes)
