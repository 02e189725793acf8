"""What steers a ControlNet is found or given, and is what it says."""

import numpy as np
import pytest

from fiberaug.errors import UsageError
from fiberaug.pretrained import PretrainedPipeline
from fiberaug.pretrained.controls import canny, check_control
from fiberaug.synthetic.generator import sample_notes


def square():
    image = np.zeros((24, 24, 3), np.uint8)
    image[8:16, 8:16] = (200, 150, 90)
    return image


def test_edges_are_where_the_image_changes_and_nowhere_else():
    edges = canny(square())

    assert edges.shape == (24, 24, 3)
    assert set(np.unique(edges)) == {0, 255}
    assert not edges[:6].any()
    assert not edges[11:13, 11:13].any()
    assert edges[7:17, 7:17].any()


def test_edges_that_are_found_steer_as_those_that_are_given(base, controlnet):
    pipeline = PretrainedPipeline.open(
        base, mode="controlnet", controlnet=controlnet, prompt="a cat", steps=2
    )
    found = pipeline.generate([1], image=square())
    given = pipeline.generate([1], control=canny(square())[None])
    other = pipeline.generate([1], control=np.zeros((24, 24, 3), np.uint8))
    notes = [
        sample_notes(pipeline, [1], [0], **one)[0]["params"]
        for one in ({"image": square()}, {"control": canny(square())})
    ]

    assert (found == given).all()
    assert (found != other).any()
    assert notes[0]["control"] == notes[1]["control"] == "canny"
    assert notes[0]["control_maker"].startswith("cv2.Canny ")
    assert notes[0]["control_thresholds"] == [100.0, 200.0]
    assert notes[1]["control_from"] == "given"
    assert "control_maker" not in notes[1]


def test_a_scale_of_0_is_as_no_control(base, controlnet):
    pipeline = PretrainedPipeline.open(
        base, mode="controlnet-image-to-image", controlnet=controlnet, control_scale=0,
        prompt="a cat", steps=2,
    )  # fmt: skip
    plain = PretrainedPipeline.open(
        base, mode="image-to-image", prompt="a cat", steps=2
    )
    assert (
        pipeline.generate([1], image=square()) == plain.generate([1], image=square())
    ).all()


@pytest.mark.parametrize("kind", ["depth", "segmentation"])
def test_depth_and_segmentation_are_given(base, controlnet, kind):
    pipeline = PretrainedPipeline.open(
        base, mode="controlnet", controlnet=controlnet, control=kind, prompt="a cat",
        steps=2,
    )  # fmt: skip
    with pytest.raises(UsageError, match=f"of the kind {kind} needs control="):
        pipeline.generate([1], image=square())
    grey = np.repeat(square()[..., :1], 3, axis=2)
    assert pipeline.generate([1], control=grey).std() > 0


@pytest.mark.parametrize(
    ("kind", "control", "message"),
    [
        ("depth", square()[None], "must be grey, .* is it a photo"),
        ("canny", np.full((1, 8, 8, 3), 90, np.uint8), "100% of it is between"),
        ("segmentation", np.zeros((1, 8, 8), np.uint8), "in the colour that"),
    ],
)
def test_a_control_of_another_kind_is_refused(kind, control, message):
    with pytest.raises(UsageError, match=message):
        check_control(control, kind)
