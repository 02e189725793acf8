"""Which samples the positions of an epoch are, without making them: for tests."""

from fiberaug.engine import Engine

__all__ = ["places"]


def places(dataset, epoch):
    """Return (shard, index, visit, label) of each position, as ``deliver`` finds it."""
    engine = Engine(dataset.setup)
    order = engine.order(epoch)
    found = []
    for position in range(dataset.plan.n):
        shard, row = order.locate(position)
        index, again, _ = engine._place(epoch, shard, row)
        visit = order.visit(position) + again
        label = int(engine._pool[shard].index.columns["label"][index])
        found.append((shard, index, visit, label))
    return found
