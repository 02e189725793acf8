"""The settings of the losses are those of the papers that they come from."""

import pytest

from fiberaug.training.losses import LOSSES


@pytest.mark.parametrize(
    ("name", "lr", "betas", "critic_steps", "gamma", "clip"),
    [
        # Radford et al. 2015, section 4.
        ("bce", "2e-4", (0.5, (0.999, 0.999)), 1, "0", None),
        # Gulrajani et al. 2017, algorithm 1; the average of Adam as in its section 5.
        ("wgan-gp", "1e-4", (0.0, (0.9, 0.9)), 5, "10", None),
        # Arjovsky et al. 2017, algorithm 1; Adam where that takes RMSProp.
        ("wgan-clip", "5e-5", (0.9, (0.999, 0.999)), 5, "0", 0.01),
    ],
)
def test_settings_are_those_of_the_paper(name, lr, betas, critic_steps, gamma, clip):
    loss = LOSSES[name]
    assert (loss.lr, loss.betas, loss.critic_steps) == (lr, betas, critic_steps)
    assert (loss.gamma, loss.clip) == (gamma, clip)
