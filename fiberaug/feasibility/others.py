"""Routes that train nothing from scratch: LoRA, edits, paste, plain augmentation."""

from fiberaug.feasibility.data import Data
from fiberaug.feasibility.evidence import evidence_for
from fiberaug.feasibility.routes import Route
from fiberaug.feasibility.sd15 import (
    ASSUMED,
    CPU_BASE,
    DISK,
    Need,
    edit_flops,
    edit_needs,
    first_that_fits,
    lora_flops,
    lora_needs,
)
from fiberaug.feasibility.trainings import Asked
from fiberaug.sizes import format_bytes

__all__ = ["other_routes"]

_BASE, _PROMPT, _RECIPE = "BASE", "PROMPT", "RECIPE"
"""Words of commands that are to be filled in."""

_LABEL = "'a photo of a {label}'"

_SHOWN, _LEAST, _MOST = 20, 1_000, 5_000  # photos that adapters are shown
_EDITS = 5  # of each photo: as most papers expand
_NATIVE = 512  # px
_ENLARGED = (
    "photos of {0} px are enlarged to the 512 px of such a base: no detail comes"
)
_CONVENTION = "how many photos to show is a convention, not a finding"
_ON_THE_FLY = (
    "on the fly it costs no disk: StreamingDataset(..., transform=) takes a recipe or"
    " a preset such as 'torchvision-ta-wide' (docs/policies.md)"
)
_POOL_BYTES = 400_000  # of an edited window of 512 px as PNG, about
_PHOTO_COPIES = 6  # arrays of a photo that an edit has at a time


def other_routes(
    data: Data, asked: Asked, *, budget: int, operations_per_s: float
) -> list[Route]:
    """Return the four.

    Args:
        data: The photos.
        asked: What the doctor was asked.
        budget: Bytes of memory that may be used.
        operations_per_s: Of this machine.
    """
    cuda = asked.device.type == "cuda"
    photo = 0 if cuda or data.largest_px is None else _photo_bytes(data)
    return [
        _lora(data, asked, budget, operations_per_s, list(lora_needs(cuda=cuda))),
        _edit(
            data, asked, budget, operations_per_s, list(edit_needs(cuda=cuda)), photo
        ),
        _paste(data, asked, budget, photo),
        _augment(asked),
    ]


def _photo_bytes(data: Data) -> int:
    """Return the bytes of the largest photo while windows of it are edited."""
    assert data.largest_px is not None  # noqa: S101  # for the type
    height, width = data.largest_px
    return _PHOTO_COPIES * 3 * height * width


def _lora(
    data: Data, asked: Asked, budget: int, rate: float, needs: list[Need]
) -> Route:
    images = min(_MOST, max(_LEAST, _SHOWN * data.photos))
    found = first_that_fits(needs, budget)
    return Route(
        name="lora", what="LoRA on a text-to-image model, 512 px", images=images,
        fits=found is not None, why=_why(needs, found, budget),
        peak=None if found is None else found.peak,
        levers="" if found is None else found.levers,
        hours=None if found is None else found.slower * images * lora_flops()
        / rate / 3600,
        disk=DISK,
        command=f"fiberaug train lora {asked.words} --base {_BASE}{_prompt(data)}"
        f" --size 512x512{asked.options} --train-images {images} --out runs/lora",
        evidence=evidence_for("lora", data.least, regions=data.regions is not None),
        notes=(*_enlarged(data), _CONVENTION, f"by arithmetic: {ASSUMED}"),
    )  # fmt: skip


def _edit(  # of this module alone
    data: Data, asked: Asked, budget: int, rate: float, needs: list[Need], photo: int
) -> Route:
    images = _EDITS * data.photos
    found = first_that_fits(needs, budget - photo)
    how = "--mode image-to-image --region grid --strength 0.25"
    if data.regions is not None:
        how = f"--mode inpaint --region {data.regions}"
    return Route(
        name="edit", what="edits with a pretrained pipeline, windows of 512 px",
        images=images, fits=found is not None, why=_why(needs, found, budget - photo),
        peak=None if found is None else found.peak + photo,
        levers="" if found is None else found.levers,
        hours=None if found is None else found.slower * images * edit_flops()
        / rate / 3600,
        disk=DISK + images * _POOL_BYTES,
        command=f"fiberaug edit {asked.words} {how} --base {_BASE}{_prompt(data)}"
        f"{asked.options} --copies {_EDITS} --out pools/edit",
        evidence=evidence_for("edit", data.least, regions=data.regions is not None),
        notes=(
            *_enlarged(data),
            "one window a photo is counted; --most and the boxes of a photo make more",
            f"by arithmetic: {ASSUMED}",
        ),
    )  # fmt: skip


def _paste(data: Data, asked: Asked, budget: int, photo: int) -> Route:
    peak = CPU_BASE + photo
    why = ""
    if data.regions is None:
        why = "the photos have neither boxes nor masks, so nothing says where to paste"
    elif peak > budget:
        why = f"it takes {format_bytes(peak)}, and {format_bytes(budget)} may be used"
    return Route(
        name="paste", what="patches of a small generator pasted into photos",
        images=_EDITS * data.photos, fits=not why, why=why,
        peak=None if why else peak, disk=_EDITS * data.photos * _POOL_BYTES,
        command=f"fiberaug edit {asked.words} --mode paste --base runs/gan/best"
        f" --region {data.regions or 'bboxes'} --match --copies {_EDITS}"
        " --out pools/paste",
        evidence=evidence_for("paste", data.least, regions=data.regions is not None),
        notes=("it takes a generator of such objects first, such as runs/gan/best",),
    )  # fmt: skip


def _augment(asked: Asked) -> Route:
    return Route(
        name="augment", what="plain augmentation, no generator", fits=True,
        peak=0, hours=0.0,
        command=f"fiberaug materialize {asked.words} --recipe {_RECIPE} --epochs 0-4"
        " --out augmented",
        evidence=evidence_for("augment", 0, regions=False),
        notes=(_ON_THE_FLY,),
    )  # fmt: skip


def _why(needs: list[Need], found: Need | None, budget: int) -> str:
    if found is not None:
        return ""
    least = min(need.peak for need in needs)
    return (
        f"with all that makes it less it takes {format_bytes(least)}, and"
        f" {format_bytes(max(0, budget))} may be used"
    )


def _enlarged(data: Data) -> tuple[str, ...]:
    short = data.short_px
    if short is None or short >= _NATIVE // 2:
        return ()
    return (_ENLARGED.format(short),)


def _prompt(data: Data) -> str:
    """Return the option of a prompt: of classes that have names, or to be filled in."""
    named = any(not name.isdigit() for name in data.counts)
    return f" --prompt {_LABEL if named else _PROMPT}"
