"""Memory of batches: used again when nobody has the batch, and not before."""

import gc
import pickle
import random
import threading

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fiberaug.buffers import Buffers

SHAPE = (8, 3, 64, 64)
FLOAT = np.dtype(np.float32)


def address(tensor):
    return tensor.untyped_storage().data_ptr()


def filled(buffers, value, shape=SHAPE, dtype=FLOAT):
    buffers.next_batch()
    tensor = buffers.empty(shape, dtype)
    tensor.fill_(value)
    return tensor


WAYS = {
    "the tensor": lambda t: t,
    "a row": lambda t: t[3],
    "a view of a view": lambda t: t[1:].permute(0, 2, 3, 1)[2:, ::2],
    "one number": lambda t: t[0, 0, 0, :1],
    "an array": lambda t: t.numpy(),
    "a view of an array": lambda t: t.numpy()[2:, 0].T,
    "a memoryview": lambda t: memoryview(t.numpy()[3:]),
    "another dtype": lambda t: t.view(torch.int32),
    "detached": lambda t: t.detach(),
    "in a module": torch.nn.Parameter,
    "in a graph": lambda t: (t.requires_grad_() ** 2).grad_fn,
    "its storage": lambda t: t.untyped_storage(),
    "in a closure": lambda t: lambda: t,
    "shared": lambda t: t.share_memory_(),
    "through dlpack": np.from_dlpack,
}


def content(kept):
    if callable(kept) and not isinstance(kept, torch.nn.Parameter | torch.Tensor):
        kept = kept._saved_self if hasattr(kept, "_saved_self") else kept()
    if isinstance(kept, torch.UntypedStorage):
        return bytes(kept)
    if isinstance(kept, torch.Tensor):
        return kept.detach().numpy().tobytes()
    return np.asarray(kept).tobytes()


@pytest.mark.parametrize("way", WAYS)
def test_what_is_kept_keeps_its_pixels(way):
    buffers = Buffers(4)
    tensor = filled(buffers, 1.5)
    kept = WAYS[way](tensor)
    del tensor
    gc.collect()
    before = content(kept)
    for value in range(20):
        filled(buffers, value)
    assert content(kept) == before
    assert np.unique(np.frombuffer(before, np.float32)).tolist() == [1.5]


def test_a_batch_that_is_gone_gives_its_memory_to_the_next():
    buffers = Buffers(4)
    first = filled(buffers, 0)
    places = {address(first)}
    del first
    for value in range(50):
        tensor = filled(buffers, value)
        places.add(address(tensor))
        del tensor
    assert len(places) == 1


def test_a_loop_that_has_one_batch_while_the_next_is_made_uses_two_places():
    buffers, places, tensor = Buffers(4), set(), None
    for value in range(50):
        tensor = filled(buffers, value)
        places.add(address(tensor))
    assert len(places) == 2


def test_each_batch_of_a_list_is_its_own():
    buffers = Buffers(4)
    kept = [filled(buffers, value) for value in range(30)]
    assert len({address(tensor) for tensor in kept}) == 30
    for value, tensor in enumerate(kept):
        assert (tensor == value).all()
    del kept, tensor
    assert buffers.idle <= 4


def test_several_tensors_of_a_batch_and_small_ones():
    buffers = Buffers(2)
    for value in range(10):
        buffers.next_batch()
        batch = [
            buffers.empty(shape, np.dtype(kind)).fill_(value % 2)
            for shape, kind in (
                (SHAPE, "u1"), (SHAPE, "f4"), ((8, 64, 64), "?"), ((8,), "i8"),
                ((0, 5), "f4"), ((), "f8"),
            )
        ]  # fmt: skip
        assert all((tensor == value % 2).all() for tensor in batch)
        assert [tensor.dtype for tensor in batch[:3]] == [
            torch.uint8, torch.float32, torch.bool,
        ]  # fmt: skip
        assert all(tensor.is_contiguous() for tensor in batch)
    del batch
    assert buffers.idle <= 2 * 3


def test_memory_of_another_size_is_dropped():
    buffers = Buffers(4)
    for _ in range(3):
        filled(buffers, 1)
    for _ in range(20):
        filled(buffers, 1, (8, 3, 100, 100))
    sizes = {len(buffer) for buffer in (*buffers._back, *(b for _, b in buffers._idle))}
    assert all(960_000 <= size <= 960_000 * 9 / 8 for size in sizes)
    buffers.clear()
    assert buffers.idle == 0


def test_batches_of_ever_new_sizes_keep_a_bounded_number():
    buffers, draw = Buffers(4), random.Random(1)
    for _ in range(200):
        filled(buffers, 1, (2, 3, draw.randrange(80, 400), draw.randrange(80, 400)))
        assert buffers.idle <= 8


def test_tensors_that_other_threads_let_go_of():
    buffers, errors = Buffers(4), []
    making = threading.Lock()

    def use(number):
        draw, own = random.Random(number), []
        for step in range(300):
            with making:  # one loop makes batches
                value = number * 1000 + step
                own.append((value, filled(buffers, value)[2:]))
            if len(own) > draw.randrange(4):
                value, tensor = own.pop(draw.randrange(len(own)))
                if not (tensor == value).all():
                    errors.append(value)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


class Model(RuleBasedStateMachine):
    """Whatever a user keeps and drops, in whatever order: pixels stay."""

    def __init__(self):
        super().__init__()
        self.buffers, self.kept, self.number = Buffers(3), [], 0

    @rule()
    def make(self):
        self.number += 1
        tensor = filled(self.buffers, self.number, (2, 3, 80, 80))
        self.kept.append((self.number, tensor))

    @rule()
    def make_another_size(self):
        self.number += 1
        tensor = filled(self.buffers, self.number, (2, 3, 120, 80))
        self.kept.append((self.number, tensor))

    @precondition(lambda self: self.kept)
    @rule()
    def keep_only_a_view(self):
        value, tensor = self.kept.pop(0)
        self.kept.append((value, tensor[:1, 1:]))

    @precondition(lambda self: self.kept)
    @rule()
    def drop(self):
        self.kept.pop(len(self.kept) // 2)

    @invariant()
    def pixels_stay(self):
        for value, tensor in self.kept:
            assert (tensor == value).all()
        assert self.buffers.idle <= 6


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_a_batch_that_was_pickled_or_copied_is_apart():
    buffers = Buffers(2)
    tensor = filled(buffers, 3)
    copies = [pickle.loads(pickle.dumps(tensor)), tensor.clone(), tensor + 0]
    del tensor
    filled(buffers, 4)
    assert all((copy == 3).all() for copy in copies)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pinned_memory_is_not_used_again_before_its_copy_is_done():
    buffers = Buffers(4, pinned=True)
    shape, copies = (64, 3, 512, 512), []
    for value in range(20):
        tensor = filled(buffers, value, shape)
        assert tensor.is_pinned()
        copies.append(tensor.to("cuda", non_blocking=True))
        del tensor
    torch.cuda.synchronize()
    assert all((copy == value).all() for value, copy in enumerate(copies))
