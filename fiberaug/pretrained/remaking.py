"""An image made again from its record."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import ReplayMismatch, StateMismatch
from fiberaug.pretrained.pipeline import PretrainedPipeline
from fiberaug.synthetic.provenance import Provenance
from fiberaug.synthetic.truth import pixels_sha256

__all__ = ["remake"]

_TOLD = ("prompt", "negative", "steps", "guidance", "strength")


def remake(
    provenance: Provenance,
    pipeline: PretrainedPipeline,
    *,
    check: bool = True,
    **pixels: Any,  # noqa: ANN401  # as of generate
) -> NDArray[np.uint8]:
    """Return the image of a record, uint8 [H, W, 3].

    Args:
        provenance: Of the image.
        pipeline: Opened with the same folder, mode, adapters and type of weights.
        check: Whether its pixels must be those of the record. Another machine, another
            number of threads or a GPU may round otherwise; after a JPEG they are others
            in any case.
        pixels: ``image``, ``mask`` and ``control`` that it was made from, if any: they
            do not stand in the record.

    Raises:
        StateMismatch: The pipeline is another one: what differs is named.
        ReplayMismatch: The pixels are not those of the record.
        UsageError: Something is missing, such as the image that was changed.
    """
    said, params = provenance.generator, provenance.params
    found = pipeline.describe()
    ours = {
        "sha256": found.get("sha256"), "lora": tuple(found.get("lora", ())),
        "dtype": found["params"]["dtype"], "mode": found["params"]["mode"],
    }  # fmt: skip
    theirs = {
        "sha256": said.sha256, "lora": said.lora, "dtype": params.dtype,
        "mode": params.others.get("mode"),
    }  # fmt: skip
    for name, value in theirs.items():
        if ours[name] != value:
            raise StateMismatch(
                f"the image was made with {name} {value!r:.120}, the pipeline has"
                f" {ours[name]!r:.120}"
            )
    told = {name: getattr(params, name) for name in _TOLD}
    conditions: dict[str, Any] = {k: v for k, v in told.items() if v is not None}
    if params.prompt is not None:  # as it is: braces in it are no placeholders
        conditions |= {"prompt": "{caption}", "caption": params.prompt}
    conditions["sampler"] = params.others.get("sampler")
    if "size" in pipeline.takes:
        conditions["size"] = params.others.get("size")
    label = provenance.label if isinstance(provenance.label, int) else 0
    all_made = pipeline.generate([params.seed], [label], **conditions, **pixels)
    made: NDArray[np.uint8] = all_made[0]
    if check and pixels_sha256(made) != provenance.pixels_sha256:
        raise ReplayMismatch(
            f"the pixels of {provenance.id} come out otherwise here: see the device,"
            " the threads and the releases that it was made with"
        )
    return made
