"""Every class of Kornia is known, and the table of the manual is what running finds."""

from pathlib import Path

import kornia.augmentation as K
import pytest
import torch
from kornia_cases import CASES
from kornia_table import page

from fiberaug.gpu.layouts import LAYOUTS, REFUSED

PAGE = Path(__file__).parents[2] / "docs" / "kornia.md"
BASES = {
    "AugmentationBase2D",
    "GeometricAugmentationBase2D",
    "IntensityAugmentationBase2D",
    "MixAugmentationBaseV2",
    "RigidAffineAugmentationBase2D",
}
TAKEN_APART = {"AugmentationSequential", "ImageSequential"}


def test_every_class_of_the_library_is_known_or_refused():
    there = {
        name
        for name in K.__all__
        if isinstance(getattr(K, name), type) and not name.endswith("3D")
    }
    assert there - BASES - TAKEN_APART <= LAYOUTS.keys() | REFUSED.keys()
    assert not LAYOUTS.keys() & REFUSED.keys()


def test_every_known_class_has_a_case():
    assert CASES.keys() == LAYOUTS.keys()


def test_the_page_of_the_manual_is_what_running_finds():
    if not PAGE.parent.exists():
        pytest.skip("not in a checkout")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert page() == PAGE.read_text(encoding="utf-8")
    finally:
        torch.set_num_threads(threads)
