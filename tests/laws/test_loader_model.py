"""Whatever a user does with a loader, a model of ten lines knows the next batch."""

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import fiberaug
from fiberaug.order import locate

if TYPE_CHECKING:
    from fiberaug.plan import Plan

SAMPLES, BATCH = 23, 4


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "set"
    with fiberaug.ShardWriter(folder, shard_size="20kB") as writer:
        for i in range(SAMPLES):
            image = np.full((8, 8, 3), i, np.uint8)
            writer.write({"__key__": f"k{i:02d}", "image": image, "label": i})
    return str(folder)


class LoaderMachine(RuleBasedStateMachine):
    """The model: an epoch, a position, and whether a pass is running."""

    shards = ""

    def __init__(self):
        super().__init__()
        dataset = fiberaug.StreamingDataset(self.shards, record="none")
        self.plan: Plan = dataset.plan
        self.files = [
            [
                f"k{i:02d}"
                for i in range(
                    sum(self.plan.counts[:s]), sum(self.plan.counts[: s + 1])
                )
            ]
            for s in range(len(self.plan.counts))
        ]
        self.loader = fiberaug.DataLoader(dataset, BATCH)
        self.epoch, self.position, self.pending = 0, 0, True
        self.running = None
        self.states = []

    def expected(self, epoch, first):
        places = [
            locate(self.plan, epoch, p)
            for p in range(first, min(first + BATCH, SAMPLES))
        ]
        return [self.files[shard][index] for shard, index in places]

    @rule(count=st.integers(1, 4))
    def take(self, count):
        """Go on with the running pass, or begin the next."""
        for _ in range(count):
            if self.running is None:
                self.running = iter(self.loader)
                if not self.pending:
                    self.epoch, self.position = self.epoch + 1, 0
                self.pending = False
            batch = next(self.running, None)
            if self.position >= SAMPLES:
                assert batch is None
                self.running, self.pending = None, True
                self.epoch, self.position = self.epoch + 1, 0
                continue
            assert batch["__key__"] == self.expected(self.epoch, self.position)
            self.position = min(self.position + BATCH, SAMPLES)

    @rule()
    def break_off(self):
        """Forget the iterator, as ``break`` does."""
        self.running = None

    @rule()
    def probe(self):
        """Make an iterator and throw it away, as frameworks do."""
        iter(self.loader)

    @rule(epoch=st.integers(0, 3))
    def set_epoch(self, epoch):
        self.loader.set_epoch(epoch)
        self.running = None
        if not (self.pending and self.epoch == epoch):
            self.epoch, self.position, self.pending = epoch, 0, True

    @rule()
    def save(self):
        self.states.append(
            (json.dumps(self.loader.state_dict()), self.epoch, self.position)
        )

    @rule(data=st.data())
    def load(self, data):
        """Into this loader, or into a new one."""
        if not self.states:
            return
        text, self.epoch, self.position = data.draw(st.sampled_from(self.states))
        if data.draw(st.booleans()):
            dataset = fiberaug.StreamingDataset(self.shards, record="none")
            self.loader = fiberaug.DataLoader(dataset, BATCH)
        self.loader.load_state_dict(json.loads(text))
        self.running, self.pending = None, True

    @invariant()
    def the_state_says_where_we_are(self):
        state = self.loader.state_dict()
        assert (state["epoch"], state["position"]) == (self.epoch, self.position)


def test_a_loader_does_what_the_model_says(shards):
    LoaderMachine.shards = shards
    machine = LoaderMachine.TestCase
    machine.settings = settings(
        max_examples=60,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine().runTest()
