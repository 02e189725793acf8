"""What a pretrained pipeline of the size of Stable Diffusion 1.5 takes, by arithmetic.

The figures are of its configs: weights are counted, and what is computed at 512 px was
traced once on tensors without values (:mod:`fiberaug.pretrained.tracing`, and for steps
of LoRA :mod:`fiberaug.training.footprint`). No such model is needed to say them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["ASSUMED", "Need", "edit_flops", "edit_needs", "lora_flops", "lora_needs"]

UNET, VAE, TEXT = 859_520_964, 83_653_863, 123_060_480
"""Weights."""

LARGEST = 37_945_344
"""Of its largest layer."""

ADAPTERS = 1_594_368
"""Weights of adapters of rank 8 on the projections of attention."""

DENOISING, ENCODING, DECODING = 315_436_555, 810_536_141, 1_278_463_181
"""Bytes at a time at 512 px, float32, on a CPU, with what its allocator keeps: the UNet
with two rows (with and without the prompt), and both halves of the VAE."""

HALF_DENOISING, HALF_DECODING, HALF_TILED = 174_495_499, 639_231_590, 171_112_858
"""The same in bfloat16; tiled: the VAE works on windows of 256 px."""

GPU_DENOISING, GPU_ENCODING, GPU_DECODING = 157_116_873, 387_684_762, 463_088_845
GPU_TILED = 115_772_211
"""The same in 16 bits on a GPU."""

KEPT, RECOMPUTED = 2_820_000_000, 490_000_000
"""Bytes of a LoRA step at 512 px with one row, float32: all activations are kept, or
blocks are computed again. Half of it in 16 bits."""

UNET_FLOPS, ENCODER_FLOPS, DECODER_FLOPS = 0.803e12, 1.117e12, 2.515e12
"""Operations of one row at 512 px, forward."""

CPU_BASE, GPU_BASE = 540 * 10**6, 600 * 10**6
"""Bytes of a process, or of a GPU, without a model."""

DISK = 2 * (UNET + VAE + TEXT)
"""Bytes of the model's files, 16 bits."""

_RESERVED = 1.15  # bytes of torch's blocks of a GPU per byte in use
_STATES = 5 * 4  # bytes of an adapter's weight: itself, gradient, 2 moments, average
_STEPS, _STRENGTH = 25, 0.5

ASSUMED = (
    "one image of 512x512 px at a time; float32 on a CPU, 16 bits on a GPU; adapters of"
    f" rank 8; edits of {_STEPS} steps at strength {_STRENGTH:g}; a CPU's"
    f" {CPU_BASE // 10**6} MB or a GPU's {GPU_BASE // 10**6} MB without a model"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Memory that is enough with some levers."""

    levers: str
    """Those that are taken, as text; empty: none."""

    peak: int
    """Bytes at the worst moment."""

    slower: float = 1.0
    """Times as long as without."""


def edit_needs(*, cuda: bool) -> Iterator[Need]:
    """Yield what an edit takes, with ever more levers; each takes less memory."""
    if cuda:
        all_of, unet, vae = 2 * (UNET + VAE + TEXT), 2 * UNET, 2 * VAE
        yield Need(levers="", peak=GPU_BASE + all_of + GPU_DECODING)
        alone = max(unet + GPU_DENOISING, vae + GPU_DECODING)
        yield Need(levers="offload by model", peak=GPU_BASE + alone, slower=1.3)
        group = 4 * LARGEST + max(GPU_DENOISING, GPU_TILED)
        yield Need(
            levers="offload by group, VAE in windows of 256 px",
            peak=GPU_BASE + group, slower=3.0,
        )  # fmt: skip
        return
    weights = UNET + VAE + TEXT
    yield Need(levers="", peak=CPU_BASE + 4 * weights + DECODING)
    # The largest part is there twice while it is read from its file and converted.
    reading = 2 * TEXT + 4 * UNET
    made = 2 * weights + HALF_DECODING
    yield Need(levers="bfloat16", peak=CPU_BASE + max(reading, made))


def lora_needs(*, cuda: bool) -> Iterator[Need]:
    """Yield what a training of adapters takes, with ever more levers.

    Photos are encoded first, with all weights there; then VAE and text encoder are
    freed, and steps are made.
    """
    if cuda:
        base, each, encoding, share = GPU_BASE, 2, GPU_ENCODING, _RESERVED / 2
    else:
        base, each, encoding, share = CPU_BASE, 4, ENCODING, 1.0
    first = base + each * UNET + 4 * (VAE + TEXT) + encoding
    held = base + each * UNET + _STATES * ADAPTERS
    for levers, work, slower in (
        ("", KEPT, 1.0), ("blocks computed again", RECOMPUTED, 1.4),
    ):  # fmt: skip
        peak = max(first, held + round(work * share))
        yield Need(levers=levers, peak=peak, slower=slower)


def first_that_fits(needs: Sequence[Need], budget: int) -> Need | None:
    """Return the first of these that fits, or None."""
    return next((one for one in needs if one.peak <= budget), None)


def edit_flops() -> float:
    """Return the operations of one edit of 512 px."""
    steps = round(_STEPS * _STRENGTH)
    return 2 * steps * UNET_FLOPS + ENCODER_FLOPS + DECODER_FLOPS


def lora_flops() -> float:
    """Return the operations of a training step with one photo of 512 px."""
    return 2 * UNET_FLOPS + UNET_FLOPS  # forward, and backward through frozen weights
