"""What ranks agree on is the same in each; one process agrees with itself."""

import torch
from launching import run

from fiberaug.training.ranking import Ranks


def test_two_ranks_have_the_same_sums_answers_and_words():
    one, two = run("ranks_agree.py", 2)
    assert [told.pop("rank") for told in (one, two)] == [0, 1]
    assert [told.pop("first") for told in (one, two)] == [True, False]
    assert [told.pop("alone") for told in (one, two)] == [[1, False], [1, True]]
    assert one == two
    assert one == {
        "world": 2, "sums": [[[3.0, 3.0], [3.0, 3.0]], 30.0], "same": [1.0] * 3,
        "any": [True, True],
        "all": [True, False], "told": {"from": 0},
    }  # fmt: skip


def test_one_process_agrees_with_itself():
    ranks, value = Ranks(), torch.ones(2)
    ranks.sum_([value, None])
    ranks.same_([value])
    assert torch.equal(value, torch.ones(2))
    assert (ranks.rank, ranks.world, ranks.is_first) == (0, 1, True)
    assert [ranks.any(True), ranks.any(False)] == [True, False]  # noqa: FBT003  # said
    assert ranks.told("a") == "a"
