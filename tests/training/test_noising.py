"""A diffusion step's loss is diffusers' own, and its gradient any division's."""

import itertools

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import compute_snr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fiberaug.models import UNet
from fiberaug.training.contracts import RealBatch
from fiberaug.training.levers import Levers
from fiberaug.training.noising import NoiseStep, null_class, weight_of
from fiberaug.training.recomputing import recompute
from fiberaug.training.stepping import Share

ROWS, CLASSES = 12, 3


def _unet(*, context=0, places=False):
    torch.manual_seed(1)
    unet = UNet((8, 12), CLASSES, context, channels=2, width=8, places=places)
    for weight in unet.parameters():  # the last begins at zero, and would hide much
        nn.init.normal_(weight, std=0.1)
    return unet


def _batch(*, context=0, places=False):
    torch.manual_seed(2)
    return RealBatch(
        torch.rand(ROWS, 2, 8, 12) * 2 - 1,
        torch.randint(0, CLASSES, (ROWS,)),
        torch.rand(ROWS, 3) if places else None,
        torch.rand(ROWS, context) + 1 if context else None,
    )


def _step(unet, **options):
    usual = {"classes": CLASSES, "min_snr": 5.0, "dropped": 0.3, "seed": 7}
    return NoiseStep(unet, **(usual | options))


def _gradient(levers, cuts=(), *, recomputed=False, **conditions):
    unet, batch = _unet(**conditions), _batch(**conditions)
    stepper, figures = _step(unet), {}
    stepper.levers = levers
    if recomputed:
        assert len(recompute(unet)) > 3
    for first, last in itertools.pairwise([0, *sorted(cuts), ROWS]):
        if first == last:
            continue
        rows = slice(first, last)
        some = RealBatch(*(None if one is None else one[rows] for one in batch))
        found = stepper.gradient(some, step=3, share=Share(first, ROWS))
        for name, value in found.items():
            figures[name] = figures.get(name, 0.0) + float(value)
    return torch.cat([
        torch.zeros(one.numel()) if one.grad is None else one.grad.flatten()
        for one in unet.parameters()
    ]).double(), figures  # fmt: skip


@settings(deadline=None, max_examples=15)
@given(
    micro=st.integers(1, ROWS + 3),
    cuts=st.lists(st.integers(0, ROWS), max_size=3),
    context=st.sampled_from([0, 4]), places=st.booleans(), recomputed=st.booleans(),
)  # fmt: skip
def test_micro_batches_ranks_and_recomputing_give_the_gradient_of_the_whole_batch(
    micro, cuts, context, places, recomputed
):
    conditions = {"context": context, "places": places}
    whole, told = _gradient(Levers(), **conditions)
    divided, also = _gradient(
        Levers(micro_batches=micro), cuts, recomputed=recomputed, **conditions
    )
    assert (whole - divided).norm() / whole.norm() < 1e-5
    assert all(abs(told[name] - also[name]) < 1e-4 for name in told)


@settings(deadline=None, max_examples=15)
@given(
    step=st.integers(0, 10**6), most=st.sampled_from([None, 1.0, 5.0]),
    dropped=st.sampled_from([0.0, 0.3, 1.0]),
)  # fmt: skip
def test_schedule_and_loss_are_those_of_diffusers(step, most, dropped):
    unet, batch = _unet(), _batch()
    stepper = _step(unet, min_snr=most, dropped=dropped)
    draws = stepper.draws(step, Share(0, ROWS), batch.images.shape[1:])
    whole = slice(0, ROWS)
    losses, plain = stepper.losses(batch, draws, whole, torch.device("cpu"))

    theirs = DDPMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"
    )
    noisy = theirs.add_noise(batch.images, draws.noise, draws.times)
    wanted = theirs.get_velocity(batch.images, draws.noise, draws.times)
    labels = torch.where(draws.dropped, CLASSES, batch.labels)
    made = unet.inner(noisy, draws.times, labels).sample
    errors = nn.functional.mse_loss(made, wanted, reduction="none").mean((1, 2, 3))
    weights = torch.ones(ROWS)
    if most is not None:  # as its training scripts have it for v
        snr = compute_snr(theirs, draws.times)
        weights = torch.stack([snr, most * torch.ones(ROWS)], 1).min(1)[0] / (snr + 1)
    assert torch.allclose(losses, errors * weights, rtol=1e-6, atol=1e-6)
    assert torch.allclose(plain, errors, rtol=1e-6, atol=1e-6)


def test_times_lie_evenly_over_all_rows_and_reach_both_ends():
    stepper, share = _step(_unet()), Share(0, 8)
    found = torch.stack([
        stepper.draws(step, share, torch.Size((1, 1, 1))).times for step in range(600)
    ])  # fmt: skip
    eighths = (found // 125).sort(1).values
    assert (eighths == torch.arange(8)).all(), "one row in each eighth"
    assert found.min() < 5
    assert found.max() > 994
    assert abs(found.float().mean(0) - 500).max() < 50, "whichever the row"


def test_what_is_drawn_follows_from_seed_step_and_row_alone():
    image = torch.Size((2, 8, 12))
    whole = _step(_unet()).draws(4, Share(0, ROWS), image)
    some = _step(_unet()).draws(4, Share(5, ROWS), image)
    for name in ("times", "noise", "dropped"):
        assert torch.equal(getattr(whole, name)[5:], getattr(some, name))
    other = _step(_unet()).draws(5, Share(0, ROWS), image)
    assert not torch.equal(whole.noise, other.noise)
    other = _step(_unet(), seed=8).draws(4, Share(0, ROWS), image)
    assert not torch.equal(whole.noise, other.noise)


class Notes(nn.Module):
    """Keeps what it is given, and gives the noisy images back."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, x, t, y, places=None, context=None):
        self.seen = {"labels": y, "places": places, "context": context}
        return x * self.weight


def test_dropped_rows_learn_without_class_and_context_but_know_their_place():
    module, batch = Notes(), _batch(context=4, places=True)
    stepper = _step(module)
    draws = stepper.draws(0, Share(0, ROWS), batch.images.shape[1:])
    assert 0 < draws.dropped.sum() < ROWS
    stepper.losses(batch, draws, slice(0, ROWS), torch.device("cpu"))
    dropped = draws.dropped
    assert (module.seen["labels"][dropped] == CLASSES).all()
    assert torch.equal(module.seen["labels"][~dropped], batch.labels[~dropped])
    assert (module.seen["context"][dropped] == 0).all()
    assert torch.equal(module.seen["context"][~dropped], batch.context[~dropped])
    assert torch.equal(module.seen["places"], batch.places)


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.1, 60, 140)])
def test_so_many_rows_are_dropped(share, least, most):
    draws = _step(_unet(), dropped=share).draws(
        0, Share(0, 1_000), torch.Size((1, 1, 1))
    )
    assert least <= int(draws.dropped.sum()) <= most


def test_the_null_class_is_the_one_after_the_last():
    stock = UNet2DModel(
        sample_size=8, block_out_channels=(8, 8), norm_num_groups=4,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
        num_class_embeds=6,
    )  # fmt: skip
    assert null_class(stock, 5) == 5
    assert null_class(_unet(), 2) == CLASSES
    assert null_class(Notes(), 4) == 4


def test_weights_follow_the_signal_up_to_a_bound():
    snr = torch.tensor([0.0, 1.0, 5.0, 24.0])
    assert weight_of(snr, 5.0).tolist() == pytest.approx([0, 0.5, 5 / 6, 0.2])
    assert weight_of(snr, None).tolist() == [1, 1, 1, 1]
