"""What published experiments say of each way, at so many images a class.

Figures are as their papers give them; nothing here was measured on the user's data, and
nothing promises that it helps there.
"""

from dataclasses import dataclass

__all__ = ["Evidence", "evidence_for"]

NONE = "no evidence was found"

FEW, ENOUGH = 20, 50
"""Images a class: between them lies the boundary below which a GAN harmed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """One finding."""

    text: str
    """What was found, with its setting."""

    source: str
    """Where it is written."""

    speaks: str = "for"
    """``for``, ``against`` or ``mixed``."""

    def __str__(self) -> str:
        """Return it as people read it."""
        return f"{self.speaks}: {self.text} ({self.source})"


_GUPTA = "Gupta and Brown 2026, arXiv 2603.16134"
_HARM = Evidence(
    text="a FastGAN of about 20 images a class made a classifier's bias gap 20.7 %"
    " worse; the boundary lies between 20 and 50 images a class",
    source=_GUPTA, speaks="against",
)  # fmt: skip
_SMALL_SETS = Evidence(
    text="generative augmentation improves only where the set is small or overfitted,"
    " and little with standard augmentation on",
    source="Zheng et al., NeurIPS 2023, arXiv 2305.17476", speaks="mixed",
)  # fmt: skip
_CAS = Evidence(
    text="trained on images of BigGAN-deep alone, a classifier of ImageNet lost 27.9"
    " points; added to real ones they helped in limited circumstances",
    source="Ravuri and Vinyals 2019", speaks="mixed",
)  # fmt: skip
_EQUIVALENCE = Evidence(
    text="with a generator of the same set, several synthetic images are worth one real"
    " one, and the gain shrinks as the set grows",
    source="Wang et al. 2025, arXiv 2508.09550", speaks="mixed",
)  # fmt: skip
_MEMORY = Evidence(
    text="the time after which a diffusion model begins to memorise grows with the set:"
    " of a small one it must be stopped early",
    source="Bigger isn't always memorizing 2025, arXiv 2505.16959", speaks="mixed",
)  # fmt: skip
_DPT = Evidence(
    text="with 1, 2 and 5 labels a class of ImageNet a classifier gained 2.8, 3.0 and"
    " 2.0 points, but its diffusion model had seen all images, without labels",
    source="DPT 2023, arXiv 2302.10586", speaks="mixed",
)  # fmt: skip
_LORA = Evidence(
    text="Stable Diffusion 1.5 with LoRA was best of those tried, on 8 breeds of Oxford"
    " Pets with few images and 6 to 8 GB: macro-F1 0.9125, bias gap 13.1 % smaller",
    source=_GUPTA,
)  # fmt: skip
_REAL_FAKE = Evidence(
    text="Stable Diffusion with LoRA and all of ImageNet: a classifier of its images"
    " alone reached 70.9 % with as many as real ones, 76.0 % with ten times as many",
    source="Real-Fake 2024, arXiv 2310.10402", speaks="mixed",
)  # fmt: skip
_DA_FUSION = Evidence(
    text="edits of photos with a learned word, from 1 to 16 images a class: up to 10 to"
    " 15 points more",
    source="DA-Fusion 2024",
)  # fmt: skip
_GIF = Evidence(
    text="guided edits of small sets: 36.9 points more on average of six sets of"
    " natural images, 13.5 of three medical ones",
    source="GIF, NeurIPS 2023, arXiv 2211.13976",
)  # fmt: skip
_SCALING = Evidence(
    text="images of text-to-image models are worth clearly less than real ones for"
    " supervised classifiers; they do best with fewer than 0.5 million real images",
    source="Fan et al. 2024, arXiv 2312.04567", speaks="mixed",
)  # fmt: skip
_RETRIEVAL = Evidence(
    text="real images found elsewhere matched or beat those of Stable Diffusion 1.5"
    " throughout",
    source="Geng et al. 2024, arXiv 2406.05184", speaks="against",
)  # fmt: skip
_DIFF_MIX = Evidence(
    text="with all images of CUB, edits between classes took the place of one image in"
    " ten, five to each photo, at strength 0.7",
    source="Diff-Mix, CVPR 2024", speaks="mixed",
)  # fmt: skip
_NO_REGIONS = Evidence(
    text=f"{NONE} for edits of regions in data with boxes or masks",
    source="the papers above classify whole images", speaks="mixed",
)  # fmt: skip
_NO_SCRATCH = Evidence(
    text=f"{NONE} for a diffusion model that saw nothing but so few images",
    source="the papers above", speaks="mixed",
)  # fmt: skip
_NO_PASTE = Evidence(
    text=f"{NONE} here; it is the cheap rival that any generator has to beat",
    source="see docs/mixes.md for CopyPaste without a generator", speaks="mixed",
)  # fmt: skip
_RIVAL = Evidence(
    text="with standard augmentation on, generated images add little",
    source="Zheng et al., NeurIPS 2023, arXiv 2305.17476",
)  # fmt: skip


def evidence_for(route: str, n: int, *, regions: bool) -> tuple[Evidence, ...]:
    """Return what is published of a way to make images.

    Args:
        route: Such as ``gan``.
        n: Images of the smallest class.
        regions: Whether the data says where objects are.

    >>> [one.speaks for one in evidence_for("gan", 20, regions=False)]
    ['against', 'mixed']
    """
    if route == "gan":
        return (_HARM, _SMALL_SETS) if n < ENOUGH else (_SMALL_SETS, _CAS)
    if route == "diffusion":
        if n < FEW:
            return _NO_SCRATCH, _MEMORY, _DPT
        return _EQUIVALENCE, _MEMORY, _SMALL_SETS
    if route == "lora":
        return (_LORA, _SCALING) if n < ENOUGH else (_REAL_FAKE, _SCALING, _RETRIEVAL)
    if route == "edit":
        told = (_DA_FUSION, _GIF) if n <= 16 else (_GIF, _DIFF_MIX, _RETRIEVAL)
        return (*told, _NO_REGIONS) if regions else told
    return (_NO_PASTE,) if route == "paste" else (_RIVAL,)
