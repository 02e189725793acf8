"""Sources that make their samples on demand are asked for class and number."""

from dataclasses import replace

import pytest
from mixworlds import make_world

EPOCHS = 3


@pytest.mark.parametrize("matched", [False, True])
def test_rows_made_on_demand_say_their_class_and_number_there_and_back(matched):
    law = make_world(classes=4, matched=matched).law
    pairs = [(label, number) for label in law.classes for number in range(50)]
    rows = [law.live_row(label, number) for label, number in pairs]
    assert len(set(rows)) == len(rows)
    assert [law.live_sample(row) for row in rows] == pairs


@pytest.mark.parametrize("matched", [False, True])
def test_a_source_that_makes_on_demand_is_asked_for_number_after_number(matched):
    world = make_world(counts=(90,), classes=3, matched=matched, weights=(2, 1))
    of_class = dict.fromkeys(world.law.classes)
    law = replace(world.law, members=(of_class, world.law.members[1]), live=(7, None))
    numbers = {label: [] for label in world.law.classes}
    for epoch in range(EPOCHS):
        order, own = world.order(epoch, law), {}
        labels = world.labels(epoch, world.base(epoch)).tolist()
        for k in range(order.end):
            deal = order.deal(k)
            if deal.source == 0:
                assert (deal.shard, deal.visit) == (7, 0)
                label, number = law.live_sample(deal.row)
                assert label == (labels[order.real(k)] if matched else -1)
                own.setdefault(label, []).append(number)
        for label, found in own.items():
            assert found == list(range(found[0], found[0] + len(found)))
            numbers[label] += found
    if not matched:  # across epochs, too
        assert numbers[-1] == list(range(len(numbers[-1])))
