"""Lists of batch operations, drawn for units, and run one by one or in fused steps."""

import torch
from hypothesis import reject
from hypothesis import strategies as st
from kornia import augmentation as K

from fiberaug.errors import UsageError
from fiberaug.gpu.fused import FusedStep, fuse
from fiberaug.gpu.kornia_ops import KorniaOperation
from fiberaug.gpu.operation import Part

CHANCE = st.sampled_from([0.5, 1.0])
ALIGN = st.booleans()
FACTORS = st.sampled_from([(0.4, 1.6), (1.0, 1.0), (0.0, 2.0)])

FLIPS = CHANCE.flatmap(
    lambda p: st.sampled_from([K.RandomHorizontalFlip, K.RandomVerticalFlip]).map(
        lambda kind: kind(p=p)
    )
)
CROPS = st.one_of(
    st.builds(lambda n: K.CenterCrop((n, n + 3)), st.integers(5, 9)),
    st.builds(
        lambda h, w, pad: K.RandomCrop((h, w), padding=pad, pad_if_needed=True),
        st.integers(4, 24),
        st.integers(4, 24),
        st.sampled_from([None, 3, (1, 2, 0, 5)]),
    ),
    st.builds(
        lambda h, w, cut: K.PadTo((h, w), crop_if_exceeds=cut),
        st.integers(8, 30),
        st.integers(8, 30),
        st.booleans(),
    ),
)
TURNS = CHANCE.map(lambda p: K.RandomRotation90((-3, 3), p=p))
SIZES = st.one_of(
    st.builds(
        lambda h, w, a: K.RandomResizedCrop((h, w), (0.1, 1.0), align_corners=a),
        st.integers(2, 30),
        st.integers(2, 30),
        ALIGN,
    ),
    st.builds(
        lambda h, w, a: K.Resize((h, w), align_corners=a),
        st.integers(2, 40),
        st.integers(2, 40),
        ALIGN,
    ),
    st.integers(9, 40).map(K.LongestMaxSize),
    st.integers(9, 40).map(K.SmallestMaxSize),
)
WARPS = st.one_of(
    st.builds(
        lambda a, p: K.RandomAffine(
            40, (0.2, 0.3), (0.7, 1.3), 15, align_corners=a, p=p
        ),
        ALIGN,
        CHANCE,
    ),
    st.builds(
        lambda a, p: K.RandomRotation(180.0, align_corners=a, p=p), ALIGN, CHANCE
    ),
    st.builds(
        lambda a, p: K.RandomShear((-20, 20), align_corners=a, p=p), ALIGN, CHANCE
    ),
    CHANCE.map(lambda p: K.RandomTranslate((-0.3, 0.3), (-0.3, 0.3), p=p)),
    st.builds(
        lambda a, p: K.RandomPerspective(0.5, align_corners=a, p=p), ALIGN, CHANCE
    ),
)
GRAY_COLORS = st.one_of(
    st.builds(lambda f, c, p: K.RandomBrightness(f, c, p=p), FACTORS, ALIGN, CHANCE),
    st.builds(lambda f, c, p: K.RandomContrast(f, c, p=p), FACTORS, ALIGN, CHANCE),
    CHANCE.map(lambda p: K.ColorJiggle(0.4, 0.5, p=p)),
    CHANCE.map(lambda p: K.ColorJitter(0.4, 0.5, 0.5, p=p)),
    CHANCE.map(lambda p: K.RandomGrayscale(p=p)),
    CHANCE.map(lambda p: K.RandomInvert(p=p)),
    CHANCE.map(lambda p: K.RandomChannelShuffle(p=p)),
    CHANCE.map(lambda p: K.RandomErasing((0.1, 0.5), value=0.25, p=p)),
    CHANCE.map(lambda p: K.Normalize(0.4, 0.5, p=p)),
    CHANCE.map(lambda p: K.Denormalize(0.4, 0.5, p=p)),
)
ORDERS = st.sampled_from([None, (3, 1, 0, 2), (2, 3)])
COLORS = st.one_of(
    GRAY_COLORS,
    st.builds(lambda f, p: K.RandomSaturation(f, p=p), FACTORS, CHANCE),
    CHANCE.map(lambda p: K.RandomHue((-0.5, 0.5), p=p)),
    st.builds(
        lambda o, p: K.ColorJiggle(0.4, 0.5, 0.6, 0.4, p=p, order=o), ORDERS, CHANCE
    ),
    st.builds(
        lambda o, p: K.ColorJitter(0.4, 0.5, 0.6, 0.4, p=p, order=o), ORDERS, CHANCE
    ),
    CHANCE.map(lambda p: K.RandomRGBShift(p=p)),
    CHANCE.map(lambda p: K.RandomPlanckianJitter(p=p)),
    CHANCE.map(lambda p: K.Normalize((0.4, 0.5, 0.6), (0.5, 0.6, 0.7), p=p)),
    CHANCE.map(lambda p: K.RandomGrayscale(torch.tensor([0.2, 0.5, 0.3]), p=p)),
)
CLIFFS = st.one_of(
    CHANCE.map(lambda p: K.RandomSolarize(0.3, 0.2, p=p)),
    CHANCE.map(lambda p: K.RandomPosterize((0, 8), p=p)),
    CHANCE.map(lambda p: K.RandomGamma((0.4, 2.0), (0.7, 1.3), p=p)),
)


def near(found, wanted, tolerance):
    """Assert that two tensors are equal to an absolute tolerance."""
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0)


class Batch:
    """What was drawn for a batch of several units, and its pixels.

    Args:
        modules: Kornia's.
        shape: (rows, channels, height, width).
        units: Of how many units the rows are.
        seed: Of pixels and draws.
        smooth: Waves of 25 px and more instead of noise.
        levels: uint8 images.
    """

    def __init__(self, modules, shape, units=1, seed=0, *, smooth=False, levels=False):
        self.operations = [KorniaOperation(module) for module in modules]
        generator = torch.Generator().manual_seed(seed)
        self.image = torch.rand(shape, generator=generator)
        if smooth:
            y, x = torch.arange(shape[2])[:, None] / 4, torch.arange(shape[3]) / 5
            self.image = torch.sin(x + y + 6 * self.image[:, :, :1, :1]) / 2 + 0.5
        if levels:
            self.image = (self.image * 255).round().byte()
        self.mask = torch.randint(1, 6, (shape[0], 1, *shape[2:]), generator=generator)
        self.mask = self.mask.float()
        self.shapes, self.parts = [shape], []
        rows = torch.arange(shape[0]).tensor_split(units)
        rows = [r.tolist() for r in rows if len(r)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for operation in self.operations:
                before = self.shapes[-1]
                try:
                    drawn = [
                        Part(len(r), operation.draw((len(r), *before[1:])))
                        for r in rows
                    ]
                except UsageError:  # sides too small for it
                    reject()
                joined = operation.join(drawn)
                self.parts.append(
                    [(None, joined[0].params)]
                    if len(joined) == 1
                    else [(r, p.params) for r, p in zip(rows, joined, strict=True)]
                )
                after = operation.size_after((before[2], before[3]))
                self.shapes.append((*before[:2], *after))

    @property
    def floats(self):
        """The images in [0, 1]."""
        return (
            self.image if self.image.is_floating_point() else self.image.float() / 255
        )

    def _single(self, x, number, run):
        done = [
            (rows, run(x if rows is None else x[rows], params))
            for rows, params in self.parts[number]
        ]
        if done[0][0] is None:
            return done[0][1]
        out = x.new_empty(len(x), *done[0][1].shape[1:])
        for rows, part in done:
            out[rows] = part
        return out

    def one_by_one(self):
        """(images, masks) as the operations leave them, each by itself."""
        image, mask = self.floats, self.mask
        for number, operation in enumerate(self.operations):
            image = self._single(image, number, operation.run)
            mask = self._single(mask, number, operation.run_mask)
        return image, mask

    def fused(self, image=None, mask=None, **options):
        """The same, in steps."""
        image = self.image if image is None else image
        mask = self.mask if mask is None else mask
        number = 0
        for step in fuse(self.operations):
            if isinstance(step, FusedStep):
                prepared = step.prepare(self.parts, self.shapes[number])
                image = step.run(image, prepared, **options)
                mask = step.run_mask(mask, prepared, **options)
                number += len(step.numbers)
            else:
                image = self._single(image, number, step.run)
                mask = self._single(mask, number, step.run_mask)
                number += 1
        return image, mask

    def only_step(self):
        """(step, prepared) where all operations are one step."""
        (step,) = fuse(self.operations)
        return step, step.prepare(self.parts, self.shapes[0])
