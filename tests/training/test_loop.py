"""The loop: a run that was ended anywhere goes on as if it never was."""

import contextlib
import json
import os
import signal
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from fiberaug.errors import StateMismatch, UsageError
from fiberaug.training.contracts import Photos, RealBatch, Verdict
from fiberaug.training.loop import BEST, LAST, Loop
from fiberaug.training.ranking import Ranks
from fiberaug.training.states import has_state, latest

ROWS = 4


class Mean:
    """Learns the mean of its images by gradient steps: a task of one weight."""

    kind = "mean"

    def __init__(self, fails=(), levers=2):
        self.weight = nn.Parameter(torch.zeros(3))
        self.fails, self.left, self.slowed, self.said = set(fails), levers, 0, []

    def step(self, batch, *, step, nimg):
        if step in self.fails:
            self.fails.discard(step)
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")
        self.said.append((step, nimg))
        mean = batch.images.mean((0, 2, 3))
        rate = 0.5 ** (1 + self.slowed) / (1 + nimg / 100)
        with torch.no_grad():
            self.weight += rate * (mean - self.weight)
        return {"loss": float((mean - self.weight.detach()).square().sum())}

    def tensors(self):
        return {"mean": {"weight": self.weight.detach()}}

    def facts(self):
        return {"slowed": self.slowed}

    def restore(self, tensors, facts):
        with torch.no_grad():
            self.weight.copy_(tensors["mean"]["weight"])
        self.slowed = facts["slowed"]

    def sample(self, seeds, labels, places=None):
        return np.zeros((len(seeds), 2, 2, 3), np.uint8)

    def save_generator(self, folder, notes):
        save_file(self.tensors()["mean"], folder / "mean.safetensors")
        (folder / "notes.json").write_text(json.dumps(notes))

    def relieve(self, rows):
        self.left -= 1
        return "less" if self.left >= 0 else None

    def slow_down(self, times):
        self.slowed = times

    def finite(self):
        return bool(torch.isfinite(self.weight).all())

    def modules(self):
        return {}


class Numbers:
    """A source of images that are a function of their number."""

    size, channels, classes, photos, has_places = (2, 2), 3, (), 10, False

    def __init__(self, broken=()):
        self.at, self.closed, self.broken = 0, False, set(broken)

    def batches(self):
        while True:
            drawn = torch.Generator().manual_seed(self.at)
            images = torch.rand(ROWS, 3, 2, 2, generator=drawn)
            if self.at in self.broken:
                self.broken.discard(self.at)
                images[0, 0, 0, 0] = float("nan")
            self.at += 1
            yield RealBatch(images)

    def reference(self, count, *, held_out=False):
        return Photos(np.zeros((0, 2, 2, 3), np.uint8))

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]

    def describe(self):
        return {"fingerprint": "numbers"}

    def close(self):
        self.closed = True


class Watch:
    """Notes steps, and gives a verdict at some of them."""

    def __init__(self, verdicts=None):
        self.verdicts, self.steps, self.ended = verdicts or {}, [], 0

    def begin(self, view):
        pass

    def step(self, view):
        self.steps.append(view.step)
        verdict = self.verdicts.get(view.step)
        return verdict(view) if callable(verdict) else verdict

    def end(self, view):
        self.ended += 1

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state):
        self.steps = list(state["steps"])


class Ended(BaseException):
    """What a run is ended by."""


def _end(view):
    raise Ended


def _loop(out, *, task=None, source=None, watcher=None, total=40, **options):
    watchers = watcher if isinstance(watcher, list) else [watcher or Watch()]
    loop = Loop(
        task or Mean(), source or Numbers(), watchers, out=out, total=total, rows=ROWS,
        ranks=Ranks(), identity=options.pop("identity", {"seed": 0}), **options,
    )  # fmt: skip
    loop.resume()
    return loop


@settings(deadline=None, max_examples=20)
@given(
    ends=st.lists(st.integers(1, 10), max_size=3),
    every=st.sampled_from([None, 4, 8, 20, 100]),
)
def test_a_run_ended_anywhere_is_the_run_that_was_never_ended(
    tmp_path_factory, ends, every
):
    whole = tmp_path_factory.mktemp("whole")
    _loop(whole, save_every=every).run()
    out = tmp_path_factory.mktemp("ended")
    for at in ends:
        loop = _loop(out, watcher=Watch({at: _end}), save_every=every)
        with contextlib.suppress(Ended):  # it may have come further already
            loop.run()
    last = Watch()
    loop = _loop(out, watcher=last, save_every=every)
    loop.run()
    assert last.steps == list(range(1, 11))
    one, other = latest(whole), latest(out)
    assert torch.equal(one.tensors["mean"]["weight"], other.tensors["mean"]["weight"])
    assert one.facts == other.facts
    content = [(x / LAST / "mean.safetensors").read_bytes() for x in (whole, out)]
    assert content[0] == content[1]


def test_a_run_that_is_done_is_left_as_it_is(tmp_path):
    _loop(tmp_path).run()
    task = Mean()
    _loop(tmp_path, task=task).run()
    assert task.said == []
    more = Mean()
    _loop(tmp_path, task=more, total=48).run()
    assert more.said == [(10, 40), (11, 44)]


def test_out_of_memory_takes_the_next_lever_and_makes_the_same_step(tmp_path):
    task, watcher = Mean(fails=[2, 5]), Watch()
    loop = _loop(tmp_path, task=task, watcher=watcher)
    loop.run()
    usual = Mean()
    _loop(tmp_path / "usual", task=usual).run()
    assert task.said == usual.said
    assert torch.equal(task.weight, usual.weight)
    assert [n.split(":")[0] for n in loop.view.notes] == [
        "out of memory in step 2", "out of memory in step 5",
    ]  # fmt: skip


def test_without_a_lever_it_ends_and_says_what_would_work(tmp_path):
    with pytest.raises(MemoryError, match="narrower"):
        _loop(tmp_path, task=Mean(fails=[2], levers=0)).run()
    assert has_state(tmp_path)


def test_another_error_names_the_step(tmp_path):
    class Broken(Mean):
        def step(self, batch, *, step, nimg):
            raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ") as raised:
        _loop(tmp_path, task=Broken()).run()
    assert raised.value.__notes__ == ["in step 0, after 0 images"]


def _rewind_once(view):
    return None if view.task.slowed else Verdict(rewind="a loss is not finite")


def test_a_rewind_goes_back_to_the_last_state_with_half_the_rate(tmp_path):
    task, watcher = Mean(), Watch({6: _rewind_once})
    loop = _loop(tmp_path, task=task, watcher=watcher, save_every=16)
    loop.run()
    steps = [step for step, _ in task.said]
    assert steps == [*range(6), *range(4, 10)]
    assert task.slowed == 1
    assert watcher.steps == list(range(1, 11))
    assert "back to step 4" in loop.view.notes[0]


def test_rewinds_are_counted_and_end(tmp_path):
    watcher = Watch({6: Verdict(rewind="a loss is not finite")})
    task = Mean()
    with pytest.raises(FloatingPointError, match="4th time"):
        _loop(tmp_path, task=task, watcher=watcher, save_every=16).run()
    assert task.slowed == 3


def test_the_best_generator_is_kept_and_the_last_one(tmp_path):
    _loop(tmp_path, watcher=Watch({3: Verdict(best=True), 7: Verdict(best=True)})).run()
    told = [json.loads((tmp_path / n / "notes.json").read_text()) for n in (BEST, LAST)]
    assert [one["images"] for one in told] == [28, 40]


def test_a_run_that_was_stopped_stays_stopped(tmp_path):
    task = Mean()
    loop = _loop(tmp_path, task=task, watcher=Watch({4: Verdict(stop="it copies")}))
    loop.run()
    assert len(task.said) == 4
    again = Mean()
    loop = _loop(tmp_path, task=again)
    loop.run()
    assert again.said == []
    assert loop.stopped == "it copies"


def test_ctrl_c_saves_the_state_of_the_step_that_ends(tmp_path):
    def interrupt(view):
        os.kill(os.getpid(), signal.SIGINT)

    watcher = Watch({3: interrupt})
    with pytest.raises(KeyboardInterrupt):
        _loop(tmp_path, watcher=watcher).run()
    assert latest(tmp_path).facts["step"] == 3
    assert watcher.ended == 1
    task = Mean()
    _loop(tmp_path, task=task).run()
    assert task.said[0] == (3, 12)


def test_in_another_thread_it_leaves_signals_alone(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=_loop(tmp_path).run)
    thread.start()
    thread.join()
    assert latest(tmp_path).facts["step"] == 10
    assert signal.getsignal(signal.SIGINT) is before


def test_a_folder_of_another_training_is_refused_by_what_differs(tmp_path):
    _loop(tmp_path).run()
    with pytest.raises(StateMismatch, match="seed = 0, and this one has 1"):
        _loop(tmp_path, identity={"seed": 1})


class Finds(Watch):
    """Notes a figure of its own at some steps."""

    def step(self, view):
        if view.step in self.verdicts:
            view.figures["judge/kid"] = float(view.step)
        self.steps.append([view.step, view.figures.get("judge/kid")])


def test_what_a_watcher_found_stays_until_it_finds_another(tmp_path):
    watcher = Finds({2: None, 5: None})
    _loop(tmp_path, watcher=watcher, total=16).run()
    again = Finds({6: None})
    _loop(tmp_path, watcher=again, total=28).run()
    kids = [None, 2.0, 2.0, 2.0, 2.0, 6.0, 6.0]
    assert again.steps == [[step + 1, kid] for step, kid in enumerate(kids)]


def test_watchers_of_one_kind_have_each_their_own_state(tmp_path):
    _loop(tmp_path, watcher=[Finds({2: None}), Finds({3: None})], total=16).run()
    pair = [Finds(), Finds()]
    _loop(tmp_path, watcher=pair)
    assert pair[0].steps != pair[1].steps
    assert [len(one.steps) for one in pair] == [4, 4]


def test_of_several_watchers_each_can_keep_stop_and_rewind(tmp_path):
    rewinds = Watch({3: _rewind_once})
    watchers = [
        Watch({5: Verdict(best=True), 6: Verdict()}), rewinds,
        Watch({5: Verdict(), 6: Verdict(stop="enough")}),
    ]  # fmt: skip
    loop = _loop(tmp_path, watcher=watchers, save_every=8)
    loop.run()
    assert json.loads((tmp_path / BEST / "notes.json").read_text())["images"] == 20
    assert loop.stopped == "enough"
    assert loop.view.step == 6
    assert [one.steps for one in watchers] == [list(range(1, 7))] * 3


def test_a_watcher_after_the_one_that_rewinds_sees_no_step_that_is_taken_back(tmp_path):
    seen = []
    last = Watch({3: lambda view: seen.append(view.task.slowed)})
    watchers = [Watch({3: _rewind_once}), last]
    _loop(tmp_path, watcher=watchers, save_every=8).run()
    assert seen == [1]


def test_a_training_with_more_that_must_be_the_same_is_another(tmp_path):
    _loop(tmp_path, identity={"data": {"seed": 0}}).run()
    with pytest.raises(StateMismatch, match=r"data\.scales = None, and this one has 2"):
        _loop(tmp_path, identity={"data": {"seed": 0, "scales": 2}})


def test_states_are_saved_at_the_same_images_after_a_resume(tmp_path):
    with contextlib.suppress(Ended):
        _loop(tmp_path, watcher=Watch({5: _end}), save_every=12).run()
    saved = []
    watcher = Watch()
    usual = watcher.state_dict
    watcher.state_dict = lambda: saved.append(len(watcher.steps)) or usual()
    _loop(tmp_path, watcher=watcher, save_every=12).run()
    assert saved == [6, 9, 10]


def test_what_a_killed_run_left_half_written_is_no_hindrance(tmp_path):
    _loop(tmp_path, total=16, watcher=Watch({2: Verdict(best=True)})).run()
    for name in (BEST, LAST):
        (tmp_path / f".{name}.new").mkdir()
        (tmp_path / f".{name}.new" / "half").write_text("")
        (tmp_path / name).rename(tmp_path / f".{name}.old")
    seen = []

    def look(view):
        seen.append(sorted(one.name for one in tmp_path.iterdir() if one.is_dir()))
        return Verdict(best=True)

    _loop(tmp_path, watcher=Watch({5: look})).run()
    assert {BEST, LAST} <= set(seen[0])
    told = [json.loads((tmp_path / n / "notes.json").read_text()) for n in (BEST, LAST)]
    assert [one["images"] for one in told] == [20, 40]
    names = {one.name for one in tmp_path.iterdir()}
    assert names == {BEST, LAST, "state"}


class Ahead(Numbers):
    """A source that takes its position when batches begin, as those that read ahead."""

    def batches(self):
        at = self.at
        while True:
            drawn = torch.Generator().manual_seed(at)
            at += 1
            self.at = at
            yield RealBatch(torch.rand(ROWS, 3, 2, 2, generator=drawn))


def test_after_a_rewind_batches_begin_where_the_state_is(tmp_path):
    weights = []
    for number, source in enumerate((Numbers(), Ahead())):
        task, watcher = Mean(), Watch({6: _rewind_once})
        out = tmp_path / str(number)
        _loop(out, task=task, source=source, watcher=watcher, save_every=16).run()
        assert source.at == 10
        weights.append(task.weight.detach())
    assert torch.equal(*weights)


def test_weights_that_are_not_finite_go_back_before_anybody_looks(tmp_path):
    task, watcher = Mean(), Watch()
    watcher.verdicts = dict.fromkeys(range(1, 11), _finite)
    source = Numbers(broken=[5])
    _loop(tmp_path, task=task, source=source, watcher=watcher, save_every=16).run()
    assert task.slowed == 1
    assert [step for step, _ in task.said] == [*range(6), *range(4, 10)]
    assert watcher.steps == list(range(1, 11))


def _finite(view):
    assert view.task.finite()


def test_the_first_step_can_be_taken_back(tmp_path):
    task = Mean()
    _loop(tmp_path, task=task, watcher=Watch({1: _rewind_once}), save_every=40).run()
    assert [step for step, _ in task.said] == [0, *range(10)]


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    def interrupt(view):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        _loop(tmp_path, watcher=Watch({3: interrupt})).run()
    assert latest(tmp_path).facts["step"] == 3


def test_nothing_to_show_is_refused(tmp_path):
    with pytest.raises(UsageError, match=">= 1, got 0"):
        _loop(tmp_path, total=0)
