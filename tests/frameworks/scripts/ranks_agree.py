"""Prints what a rank has after it agreed with the others."""

import json
import sys

import torch
import torch.distributed as dist

from fiberaug.training.ranking import Ranks


def main():
    dist.init_process_group("gloo")
    ranks = Ranks()
    mine = float(ranks.rank + 1)
    summed = [torch.full((2, 2), mine), None, torch.tensor(10 * mine)]
    ranks.sum_(summed)
    same = torch.full((3,), mine)
    ranks.same_([same])
    told = {
        "rank": ranks.rank, "world": ranks.world, "first": ranks.is_first,
        "sums": [summed[0].tolist(), summed[2].item()], "same": same.tolist(),
        "any": [ranks.any(one) for one in (bool(ranks.rank), not ranks.rank)],
        "all": [ranks.any(one) for one in (True, False)],
        "told": ranks.told({"from": ranks.rank}),
        "alone": [Ranks.alone().world, Ranks.alone().any(bool(ranks.rank))],
    }  # fmt: skip
    sys.stdout.write(json.dumps(told) + "\n")
    dist.destroy_process_group()


main()
