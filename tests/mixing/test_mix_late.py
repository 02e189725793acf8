"""What an online generator has not made in time is told, counted and answered."""

import logging

import pytest
import torch
from generators import Shapes
from mixsets import rows

import fiberaug
from fiberaug.errors import StoreError, UsageError
from fiberaug.synthetic.online import OnlineGenerator


class Slow(Shapes):
    """Takes longer than any test waits."""

    def generate(self, seeds, labels, **conditions):
        import time

        time.sleep(60)
        return super().generate(seeds, labels, **conditions)


@pytest.fixture
def opened(tmp_path):
    """A function that opens 40 samples and an online source that waits for nothing."""
    content = rows(40, classes=Shapes.classes)
    fiberaug.convert(content, tmp_path / "real", progress=False)

    def make(**options):
        online = OnlineGenerator(
            Slow, tmp_path / "buffer", classes=Shapes.classes, wait=0.0
        )
        mix = fiberaug.Mix(online, 0.25, match_labels=False, **options)
        return fiberaug.StreamingDataset(str(tmp_path / "real"), mix=mix)

    return make


def test_real_samples_stand_in_are_counted_and_warned_of_once(opened, caplog):
    dataset = opened()
    with caplog.at_level(logging.WARNING), fiberaug.DataLoader(dataset, 8) as loader:
        batches = list(loader)
        stats = loader.stats()
    assert [s for b in batches for s in b["__source__"]] == ["real"] * 40
    assert stats["late"] == 10
    assert (stats["asked/online"], stats["share/online"]) == (0.25, 0.0)
    plain = fiberaug.StreamingDataset(dataset.shard_set.refs[0].path)
    own = [k for b in fiberaug.DataLoader(plain, 8) for k in b["__key__"]]
    assert [k for b in batches for k in b["__key__"]] == own  # the places' own samples
    told = [r for r in caplog.records if "not made in time" in r.message]
    assert len(told) == 1


def test_with_late_raise_it_is_an_error_that_says_how_to_wait(opened):
    loader = fiberaug.DataLoader(opened(late="raise"), 8)
    with loader, pytest.raises(StoreError, match=r"has not made .*wait=.*late="):
        list(loader)


def test_a_plain_torch_loader_says_that_nobody_has_started_it(opened):
    loader = torch.utils.data.DataLoader(opened(), 8)
    with pytest.raises(UsageError, match=r"was not started.*call its start\(\)"):
        list(loader)


def test_another_word_is_refused():
    with pytest.raises(UsageError, match="late must be one of"):
        fiberaug.Mix("pool/", late="skip")
