"""Tiny pipelines, written once a session."""

import pytest
from tiny_pipelines import write_controlnet, write_stable_diffusion


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A folder of a Stable Diffusion; never write into it."""
    return write_stable_diffusion(tmp_path_factory.mktemp("sd") / "base", licence="mit")


@pytest.fixture(scope="session")
def controlnet(tmp_path_factory, base):
    """A folder of a ControlNet of it."""
    return write_controlnet(tmp_path_factory.mktemp("net") / "control", base)
