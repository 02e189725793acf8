"""A loader in a torch.distributed.checkpoint goes on with other ranks and workers."""

import pytest
from launching import joined, run

import fiberaug

pytestmark = pytest.mark.timeout(240)


def test_two_ranks_then_three_to_the_end_then_one_deal_what_one_process_does(
    tmp_path, write_set
):
    shards = write_set(100)
    loader = fiberaug.DataLoader(fiberaug.StreamingDataset(shards), 12)
    unbroken = [key for _ in range(2) for batch in loader for key in batch["__key__"]]
    seen = []
    plan = [(2, 3, 0), (3, 99, 2), (1, 2, 1)]  # ranks, steps, workers
    for number, (world, steps, workers) in enumerate(plan):
        before, after = tmp_path / str(number), tmp_path / str(number + 1)
        ranks = run("checkpointed.py", world, shards, before, after, steps, workers)
        seen += joined(ranks)

    assert seen[:100] == unbroken[:100]
    assert sorted(seen[:100]) == [f"k{i:03d}" for i in range(100)]
    assert seen[100:] == unbroken[100:124]
