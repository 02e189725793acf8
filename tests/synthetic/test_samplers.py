"""Laws of samplers, shown with networks that know the answer."""

import math
import sys

import pytest
import torch
from diffusers import DDIMScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from fiberaug.errors import UsageError
from fiberaug.synthetic.noises import generators_of, noise_of
from fiberaug.synthetic.samplers import (
    SAMPLERS,
    Start,
    denoise,
    guided,
    make_sampler,
    training_schedule,
)

SHAPE = (3, 4, 4)
KEPT = training_schedule().alphas_cumprod
IMAGES = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(0)) * 2 - 1
EXACT = ("ddim", "dpmsolver++", "unipc")  # they add no noise


def levels(times):
    """Return alpha and sigma of times, [B, 1, 1, 1]."""
    kept = KEPT[times].view(-1, 1, 1, 1)
    return kept.sqrt(), (1 - kept).sqrt()


def knows(images):
    """Return a network that knows the images, and the exact v."""

    def predict(noisy, times):
        alpha, sigma = levels(times)
        return alpha * (noisy - alpha * images) / sigma - sigma * images

    return predict


def run(name, steps, predict, start=None, **options):
    generators = generators_of([1, 2])
    noise = noise_of(generators, SHAPE)
    sampler = make_sampler(name, steps)
    return noise, denoise(predict, noise, sampler, generators, start, **options)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(list(SAMPLERS)),
    st.one_of(st.integers(1, 30), st.sampled_from([61, 103, 600])),
    st.one_of(st.none(), st.floats(0.01, 1)),
)
def test_a_network_that_knows_the_image_gives_it(name, steps, strength):
    start = None if strength is None else Start(IMAGES, strength)
    _, made = run(name, steps, knows(IMAGES), start)
    torch.testing.assert_close(made, IMAGES, atol=2e-6, rtol=0)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(EXACT),
    st.one_of(st.integers(1, 30), st.sampled_from([61, 103, 600])),
    st.one_of(st.none(), st.floats(0.01, 1)),
)
def test_each_step_is_as_noisy_as_its_time_says(name, steps, strength):
    """What the network is given at a time is alpha image + sigma noise of that time."""
    given_to = []

    def predict(noisy, times):
        given_to.append((noisy, times))
        return knows(IMAGES)(noisy, times)

    start = None if strength is None else Start(IMAGES, strength)
    noise, _ = run(name, steps, predict, start)
    taken = steps if strength is None else max(1, round(steps * strength))
    assert len(given_to) == taken
    for noisy, times in given_to:
        alpha, sigma = levels(times)
        torch.testing.assert_close(
            noisy, alpha * IMAGES + sigma * noise, atol=2e-4, rtol=0
        )


def test_ddpm_keeps_the_noise_of_its_time():
    """A network that knows the image, so what remains at a time is noise of sigma."""
    wide = torch.zeros(1, 3, 64, 64)
    generators = generators_of([3])
    noise = noise_of(generators, wide.shape[1:])

    def predict(noisy, times):
        _, sigma = levels(times)
        ratio = float((noisy / sigma).std())
        assert 0.96 < ratio < 1.04
        return knows(wide)(noisy, times)

    denoise(predict, noise, make_sampler("ddpm", 50), generators)


@pytest.mark.parametrize("name", SAMPLERS)
def test_images_have_the_spread_of_the_data(name):
    """Of pixels ~ N(0.2, 0.1 squared) the best v is linear; so is what it makes."""
    mean, spread = 0.2, 0.1

    def predict(noisy, times):
        alpha, sigma = levels(times)
        gain = alpha * spread**2 / (alpha**2 * spread**2 + sigma**2)
        images = mean + gain * (noisy - alpha * mean)
        return alpha * (noisy - alpha * images) / sigma - sigma * images

    generators = generators_of(range(4))
    noise = noise_of(generators, (3, 32, 32))
    steps = {"ddpm": 500, "ddim": 200}.get(name, 50)  # with fewer it is too small
    made = denoise(predict, noise, make_sampler(name, steps), generators)
    assert abs(float(made.mean()) - mean) < 0.01
    assert abs(float(made.std()) - spread) < 0.01


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_image_is_cut_to_what_pixels_can_be(name):
    _, made = run(name, 10, lambda noisy, _: -50 * torch.ones_like(noisy))
    assert float(made.abs().max()) <= 1 + 1e-6


def test_ddim_is_that_of_diffusers_where_steps_divide_the_times():
    def network(noisy, times):
        return 0.3 * torch.tanh(noisy / 2 + times.view(-1, 1, 1, 1) / 1000)

    stock = DDIMScheduler.from_config(
        training_schedule().config, timestep_spacing="trailing"
    )
    stock.set_timesteps(20)
    noise, made = run("ddim", 20, network)
    torch.testing.assert_close(made, denoise(network, noise, stock))


@pytest.mark.parametrize("name", SAMPLERS)
def test_there_are_as_many_steps_as_are_asked_for(name):
    for steps in [*range(1, 1001, 29), 61, 103, 122, 1000]:
        times = make_sampler(name, steps).timesteps.tolist()
        assert len(times) == steps
        assert times[0] == 999
        assert times == sorted(set(times), reverse=True)
        assert times[-1] >= 0


def test_a_sampler_is_not_used_up():
    sampler = make_sampler("unipc", 5)
    noise = torch.randn(2, *SHAPE)
    predict = knows(IMAGES * 0.3)
    one, two = (denoise(predict, noise, sampler) for _ in range(2))
    assert one.equal(two)


def test_steps_are_told_from_the_beginning_to_the_image():
    seen = {}
    noise, made = run("ddim", 4, knows(IMAGES), on_step=seen.__setitem__)
    assert list(seen) == [0, 1, 2, 3, 4]
    assert seen[0].equal(noise)
    assert seen[4].equal(made)


@pytest.mark.parametrize("guidance", [0.0, 0.5, 3.0])
def test_guidance_goes_beyond_what_is_said_without(guidance):
    images, times = torch.randn(2, *SHAPE), torch.tensor([5, 6])

    def with_class(images, times):
        return images * times.view(-1, 1, 1, 1)

    def without(images, times):
        return images - times.view(-1, 1, 1, 1)

    expected = without(images, times) + guidance * (
        with_class(images, times) - without(images, times)
    )
    assert guided(with_class, without, guidance)(images, times).equal(expected)


def test_without_guidance_the_network_is_asked_once():
    def never(images, times):
        raise AssertionError

    predict = knows(IMAGES)
    assert guided(predict, never, 1.0) is predict


def test_a_seed_gives_noise_of_all_its_bits():
    seeds = [5, 5 + 2**32, 5 + 2**62, 6]
    noise = noise_of(generators_of(seeds), (3, 32, 32))
    assert len({one.numpy().tobytes() for one in noise}) == 4
    assert noise_of(generators_of(seeds[::-1]), (3, 32, 32)).flip(0).equal(noise)
    assert abs(float(noise.mean())) < 0.03
    assert abs(float(noise.std()) - 1) < 0.03
    flat = noise.reshape(4, -1)
    assert (torch.corrcoef(flat) - torch.eye(4)).abs().max() < 0.1


@pytest.mark.parametrize(
    ("name", "steps", "message"),
    [
        ("euler", 5, "sampler must be one of ddpm, ddim, .*'euler'"),
        (None, 5, "sampler must be one of"),
        ("ddim", 0, "steps must be an integer from 1 to 1000, got 0"),
        ("ddim", 1001, "steps must be"),
        ("ddim", 5.0, "steps must be"),
        ("ddim", True, "steps must be"),
    ],
)
def test_what_is_no_sampler_is_refused(name, steps, message):
    with pytest.raises(UsageError, match=message):
        make_sampler(name, steps)


def test_a_missing_diffusers_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(UsageError, match=r'pip install "fiberaug\[diffusion\]"'):
        make_sampler("ddim", 5)


def test_the_schedule_ends_in_noise():
    assert math.sqrt(float(KEPT[-1])) < 1e-4
    assert training_schedule().config.prediction_type == "v_prediction"
