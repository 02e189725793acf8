"""torchvision v2 transforms, where installed: hooked, keyed and recorded."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from fiberaug.augment.opaque import keyed_globals
from fiberaug.augment.own import as_sample
from fiberaug.params import encode
from fiberaug.sample import Sample

__all__ = ["VisionStage", "is_torchvision", "vision_leaves"]

_BOXES, _POINTS = "bboxes", "keypoints"
_NAMES = {"labels": "bbox_labels"}  # SanitizeBoundingBoxes looks for "labels"


def is_torchvision(what: object) -> bool:
    """Return whether it is a torchvision v2 transform; torchvision is not imported."""
    v2 = sys.modules.get("torchvision.transforms.v2")
    return v2 is not None and isinstance(what, v2.Transform)


def vision_leaves(transform: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Yield (path, leaf) of a torchvision pipeline in the order of definition."""
    children = [
        child
        for child in getattr(transform, "transforms", ())
        if isinstance(child, torch.nn.Module)
    ]
    if not children:
        yield path, transform
    for i, child in enumerate(children):
        yield from vision_leaves(child, f"{path}.{i}" if path else str(i))


class VisionStage:
    """Runs a torchvision v2 pipeline on single samples.

    Image, masks, boxes and points go in as its own tensor kinds, so that geometry
    reaches all of them. Every leaf that is applied is logged with the parameters that
    it made; leaves that draw elsewhere (AutoAugment and its like) without.

    Args:
        transform: The pipeline; it must be this stage's own copy, since it is hooked.
    """

    def __init__(self, transform: Any) -> None:  # noqa: ANN401  # torchvision has no types
        self._transform = transform
        self._log: list[tuple[int, dict[str, Any]]] = []
        self.leaves: list[tuple[str, str]] = []
        for path, leaf in vision_leaves(transform):
            self._hook(leaf, len(self.leaves))
            self.leaves.append((path, type(leaf).__name__))

    def _hook(self, leaf: Any, number: int) -> None:  # noqa: ANN401
        make, forward, log = leaf.make_params, leaf.forward, self._log
        own = type(leaf).make_params is not _base().make_params
        gated = "_RandomApplyTransform" in {k.__name__ for k in type(leaf).__mro__}

        def made(flat_inputs: list[Any]) -> dict[str, Any]:
            params = make(flat_inputs)
            log.append((number, {k: _plain(v) for k, v in params.items()}))
            return params  # type: ignore[no-any-return]

        def ran(*inputs: Any) -> Any:  # noqa: ANN401
            log.append((number, {}))
            return forward(*inputs)

        if own or gated:
            leaf.make_params = made
        else:
            leaf.forward = ran

    def __call__(
        self, sample: Sample, key: bytes
    ) -> tuple[Sample, list[tuple[int, dict[str, Any]]]]:
        """Return the transformed sample, and (leaf, parameters) in order."""
        self._log.clear()
        data = _wrap(sample)
        with keyed_globals(key):
            out = self._transform(data)
        made = {_NAMES.get(n, n): _unwrap(n, value) for n, value in out.items()}
        fields = {**sample, **made}
        return as_sample(fields, sample, "torchvision"), self._log.copy()


def _base() -> Any:  # noqa: ANN401
    return sys.modules["torchvision.transforms.v2"].Transform


def _wrap(sample: Sample) -> dict[str, Any]:
    tv_tensors = sys.modules["torchvision.tv_tensors"]  # its transforms imported it
    height, width = sample["image"].shape[:2]
    planes = np.ascontiguousarray(sample["image"].transpose(2, 0, 1))
    data = {"image": tv_tensors.Image(torch.from_numpy(planes))}
    for name in ("mask", "masks"):
        if sample.get(name) is not None:
            data[name] = tv_tensors.Mask(torch.from_numpy(sample[name].copy()))
    if sample.get(_BOXES) is not None:
        data[_BOXES] = tv_tensors.BoundingBoxes(
            torch.from_numpy(sample[_BOXES].copy()),
            format="XYXY",
            canvas_size=(height, width),
        )
        if sample.get("bbox_labels") is not None:
            data["labels"] = torch.from_numpy(sample["bbox_labels"].copy())
    if sample.get(_POINTS) is not None and hasattr(tv_tensors, "KeyPoints"):
        data[_POINTS] = tv_tensors.KeyPoints(
            torch.from_numpy(sample[_POINTS].copy()), canvas_size=(height, width)
        )
    return data


def _unwrap(name: str, value: torch.Tensor) -> Any:  # noqa: ANN401
    tensor = value.as_subclass(torch.Tensor)
    return tensor if name == "image" else tensor.numpy()


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, torch.Tensor):
        return encode(value.detach().cpu().numpy())
    return encode(value)
