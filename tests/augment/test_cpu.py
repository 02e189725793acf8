"""The user's pipeline runs unchanged, keyed by the sample, and every leaf is logged."""

import copy
import pickle

import albumentations as A
import numpy as np
import pytest

import fiberaug
from fiberaug.augment.cpu import CpuEngine as PipelineEngine
from fiberaug.augment.pipeline import as_pipeline, pipeline_hash, rebuild
from fiberaug.augment.replayable import why_not_replayable
from fiberaug.seeding import KeyedGenerators, key

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
COMPOSITIONS = {
    "flat": [A.HorizontalFlip(), A.RandomGamma(), A.RandomCrop(40, 40)],
    "one of": [
        A.OneOf([A.HorizontalFlip(p=1), A.VerticalFlip(p=1)], p=0.6),
        A.RandomGamma(),
    ],
    "some of": [
        A.SomeOf([A.Transpose(p=1), A.RandomGamma(p=1), A.Posterize(p=1)], n=2)
    ],
    "some of, replaced": [
        A.SomeOf(
            [A.RandomGamma(p=1), A.RandomBrightnessContrast(p=1)], n=3, replace=True
        )
    ],
    "random order": [
        A.RandomOrder([A.ColorJitter(), A.GaussNoise(), A.Solarize()], n=3)
    ],
    "one or other": [A.OneOrOther(A.RandomGamma(p=1), A.Posterize(p=1))],
    "nested": [
        A.Sequential(
            [A.OneOf([A.Sequential([A.Transpose(), A.RandomGamma()], p=1)])], p=1
        )
    ],
}


class CpuEngine:
    """The engine of one transform, called with one key."""

    def __init__(self, transform, fields, **options):
        self.inner = PipelineEngine(as_pipeline(transform), fields, **options)
        self.leaves, self.normalize = self.inner.leaves, self.inner.normalize

    def __call__(self, fields, draw):
        return self.inner(fields, lambda _: draw)

    @property
    def compose(self):
        return self.inner._stages[0][2]._compose


def keys(count):
    return [key(0, 0, i, 0, 0, "cpu") for i in range(count)]


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_the_log_is_what_ran_in_order_in_every_composition(name):
    """Compared with a spy inside of the operations themselves."""
    compose = A.Compose(COMPOSITIONS[name])
    engine = CpuEngine(compose, ["image"])
    ran = []
    for path, leaf in _walk(engine.compose, ()):
        original = leaf.apply

        def spy(img, *args, _original=original, _path=path, **params):
            ran.append(_path)
            return _original(img, *args, **params)

        leaf._key2func["image"] = spy
    applied = set()
    for draw in keys(60):
        ran.clear()
        operations = engine({"image": IMAGE}, draw).operations
        assert [engine.leaves[number][0] for number, _ in operations] == ran
        applied.update(ran)
    assert len(applied) > 1 or name == "flat"


def _walk(transform, path):
    if isinstance(transform, A.BaseCompose):
        for i, child in enumerate(transform.transforms):
            yield from _walk(child, (*path, i))
    else:
        yield ".".join(map(str, path)), transform


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_pixels_are_those_of_the_pipeline_itself_with_the_same_generators(name):
    compose = A.Compose(copy.deepcopy(COMPOSITIONS[name]))
    engine = CpuEngine(compose, ["image"])
    generators = KeyedGenerators()
    compose.set_random_state(generators.numpy, generators.python)
    for draw in keys(20):
        generators.jump(draw)
        assert np.array_equal(
            compose(image=IMAGE)["image"],
            engine({"image": IMAGE}, draw).fields["image"],
        )


def test_the_users_object_is_neither_changed_nor_reseeded():
    compose = A.Compose([A.HorizontalFlip(), A.RandomGamma()], seed=5)
    twin = A.Compose([A.HorizontalFlip(), A.RandomGamma()], seed=5)
    engine = CpuEngine(compose, ["image"])
    for draw in keys(5):
        engine({"image": IMAGE}, draw)

    assert "apply_with_params" not in vars(compose.transforms[0])
    for _ in range(10):
        assert np.array_equal(compose(image=IMAGE)["image"], twin(image=IMAGE)["image"])
    pickle.dumps(compose)


def test_gates_of_a_pipeline_are_independent():
    """Albumentations' own ``seed=`` opens all gates together or none."""
    engine = CpuEngine(
        A.Compose([A.HorizontalFlip(), A.VerticalFlip(), A.InvertImg()]), ["image"]
    )
    counts = np.bincount(
        [len(engine({"image": IMAGE[:8, :8]}, draw).operations) for draw in keys(800)],
        minlength=4,
    )

    expected = 800 * np.array([1, 3, 3, 1]) / 8
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all(), counts


def test_one_leaf_in_two_places_is_logged_in_both():
    flip = A.HorizontalFlip(p=1)
    engine = CpuEngine(A.Compose([flip, A.Sequential([flip], p=1)]), ["image"])

    operations = engine({"image": IMAGE}, keys(1)[0]).operations

    assert [engine.leaves[n][0] for n, _ in operations] == ["0", "1.0"]


def test_boxes_get_a_processor_where_the_pipeline_has_none():
    engine = CpuEngine(
        A.Compose([A.HorizontalFlip(p=1)]), ["image", "bboxes", "bbox_labels"]
    )
    sample = {
        "image": IMAGE,
        "bboxes": np.array(
            [[0, 0, 10, 20], [5, 5, 5, 9], [70, 50, 90, 70]], np.float32
        ),
        "bbox_labels": np.array([4, 5, 6]),
    }
    out = engine(sample, keys(1)[0]).fields

    assert out["bboxes"].tolist() == [
        [70, 0, 80, 20],
        [0, 50, 10, 64],
    ]  # clipped; empty one gone
    assert out["bbox_labels"].tolist() == [4, 6]
    assert (out["bboxes"].dtype, out["bbox_labels"].dtype) == (np.float32, np.int64)
    empty = {
        **sample,
        "bboxes": np.zeros((0, 4), np.float32),
        "bbox_labels": np.zeros(0, np.int64),
    }
    assert engine(empty, keys(1)[0]).fields["bboxes"].shape == (0, 4)


def test_the_users_own_box_parameters_count():
    params = A.BboxParams("pascal_voc", label_fields=["labels"], min_visibility=0.5)
    engine = CpuEngine(
        A.Compose([A.Crop(0, 0, 20, 20)], bbox_params=params),
        ["image", "bboxes", "bbox_labels"],
    )
    sample = {
        "image": IMAGE,
        "bboxes": np.array([[0, 0, 18, 18], [15, 15, 60, 60]], np.float32),
        "bbox_labels": np.array([1, 2]),
    }
    assert engine(sample, keys(1)[0]).fields["bbox_labels"].tolist() == [1]
    yolo = A.BboxParams("yolo")
    with pytest.raises(fiberaug.UsageError, match="pascal_voc"):
        CpuEngine(A.Compose([A.Transpose()], bbox_params=yolo), ["image", "bboxes"])
    with pytest.raises(fiberaug.UsageError, match="label_fields"):
        CpuEngine(A.Compose([A.Transpose()], bbox_params=params), ["image", "bboxes"])


def test_masks_and_points_go_where_the_pixels_go():
    image = IMAGE.copy()
    mask = np.zeros((64, 80), np.uint8)
    image[10, 20] = (255, 0, 255)
    mask[10, 20] = 7
    engine = CpuEngine(
        A.Compose(
            [
                A.OneOf(
                    [A.HorizontalFlip(p=1), A.Transpose(p=1), A.RandomRotate90(p=1)],
                    p=1,
                )
            ]
        ),
        ["image", "mask", "keypoints"],
    )
    for draw in keys(20):
        sample = {
            "image": image,
            "mask": mask,
            "keypoints": np.array([[20, 10]], np.float32),
        }
        out = engine(sample, draw).fields
        (y,), (x,) = np.nonzero(out["mask"])
        assert tuple(out["image"][y, x]) == (255, 0, 255)
        assert out["keypoints"].round().tolist() == [[x, y]]


@pytest.mark.parametrize("tail", [[A.Normalize()], [A.Normalize(), A.ToTensorV2()]])
def test_a_trailing_normalisation_is_taken_out_and_tabulated(tail):
    engine = CpuEngine(A.Compose([A.HorizontalFlip(p=1), *tail]), ["image"])
    image = engine({"image": IMAGE}, keys(1)[0]).fields["image"]

    assert image.dtype == np.uint8
    expected = A.Normalize()(image=np.ascontiguousarray(IMAGE[:, ::-1]))["image"]
    table = engine.normalize.table(3)
    assert np.array_equal(
        np.stack([table[c][image[..., c]] for c in range(3)], -1), expected
    )


@pytest.mark.parametrize(
    "transforms",
    [
        [A.Normalize(normalization="image")],
        [A.Normalize(p=0.5)],
        [A.Normalize(), A.HorizontalFlip(p=1)],
    ],
)
def test_any_other_normalisation_stays_where_the_user_put_it(transforms):
    assert CpuEngine(A.Compose(transforms), ["image"]).normalize is None


def test_a_normalisation_after_float_pixels_is_done_in_the_worker():
    engine = CpuEngine(
        A.Compose([A.ToFloat(max_value=255), A.Normalize(max_pixel_value=1)]), ["image"]
    )
    image = engine({"image": IMAGE}, keys(1)[0]).fields["image"]

    assert np.allclose(image, A.Normalize()(image=IMAGE)["image"], atol=1e-5)


def test_whether_a_pipeline_can_be_rebuilt_is_tried_not_believed():
    def why_not(*transforms):
        return why_not_replayable(as_pipeline(A.Compose(transforms)))

    assert why_not(A.RandomCrop(300, 300), A.ColorJitter()) is None
    assert "does not serialise" in why_not(A.Lambda(image=_same))
    unsound = A.HorizontalFlip(p=1)
    unsound.p = 0.5  # says 0.5 when serialised, too
    assert why_not(unsound) is None
    gamma = A.RandomGamma(p=1)
    gamma.get_transform_init_args = lambda: {"gamma_limit": (100, 100)}
    assert "the rebuilt pipeline" in why_not(gamma)


def test_channels_of_a_selective_transform_are_kept_when_it_is_rebuilt():
    """Albumentations' own serialisation forgets them and gives other pixels."""
    inner = A.SelectiveChannelTransform([A.InvertImg(p=1)], channels=(0, 2), p=1)
    compose = A.Compose([A.Sequential([inner], p=1)])
    again = rebuild(as_pipeline(compose).identity())
    out = PipelineEngine(again, ["image"])({"image": IMAGE}, lambda _: keys(1)[0])

    assert np.array_equal(out.fields["image"][..., 1], IMAGE[..., 1])
    assert np.array_equal(out.fields["image"][..., ::2], 255 - IMAGE[..., ::2])


def _same(image, **_):
    return image


def named(*transforms, **extra):
    return pipeline_hash(as_pipeline(A.Compose(transforms)), extra)


def test_the_hash_names_the_pipeline_and_nothing_else():
    one = A.RandomCrop(30, 30), A.HorizontalFlip()
    same = rebuild(as_pipeline(A.Compose(one)).identity())

    assert named(*one, d=1) == pipeline_hash(same, {"d": 1})
    assert named(*one, d=1) != named(*one, d=2)
    assert named(*one) != named(A.RandomCrop(30, 31), A.HorizontalFlip())
    assert named(A.Lambda(image=_same)) == named(A.Lambda(image=_same))


ALL = [
    A.Affine(), A.RandomResizedCrop((32, 32)), A.Perspective(),
    A.ElasticTransform(), A.GridDistortion(), A.CoarseDropout(), A.GaussNoise(),
    A.ISONoise(), A.MotionBlur(), A.CLAHE(), A.HueSaturationValue(), A.RGBShift(),
    A.RandomFog(), A.Downscale(), A.ImageCompression(), A.PadIfNeeded(96, 96), A.D4(),
    A.SafeRotate(), A.LongestMaxSize(64), A.RandomScale(), A.Sharpen(), A.ToGray(),
    A.ChannelShuffle(),
]  # fmt: skip


@pytest.mark.parametrize("leaf", ALL, ids=lambda leaf: type(leaf).__name__)
@pytest.mark.filterwarnings("ignore:Argument")
def test_the_hash_of_a_rebuilt_pipeline_is_that_of_the_pipeline(leaf):
    """Else a run folder could not be replayed."""
    pipeline = as_pipeline(A.Compose([leaf, A.Normalize()]))
    again = rebuild(pipeline.identity())

    assert pipeline_hash(again, {}) == pipeline_hash(pipeline, {})
