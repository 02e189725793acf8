"""What a mix looks like to who trains on it: shares, labels, counts, figures, state."""

import json
from collections import Counter

import albumentations as A
import numpy as np
import pytest
import torch
from mixsets import CLASSES, PIPELINE, delivered, names, opened, rows, shares

import fiberaug
from fiberaug import Mix, Schedule
from fiberaug.errors import StateMismatch
from fiberaug.mixes import MixUp

HALVES = Schedule.step({0: 0.5, 1: 0.25, 2: 0})
LABELS = ("ant", "cow", "bee")  # in the order in which the real set has them


def named(key):
    """Return the class of a key, as :func:`mixsets.rows` gives it."""
    return CLASSES[(int(key[1:]) * 2 + "rgd".find(key[0].replace("s", "g"))) % 3]


def visit(row):
    """Return epoch and visit of a row, which its draws depend on."""
    record = json.loads(row[3])
    return record["epoch"], record["visit"]


def passes(dataset, epochs=1, batch=8, **options):
    """What a loader delivers, its figures and the lengths that it told."""
    found, sizes = {}, []
    with fiberaug.DataLoader(dataset, batch, **options) as loader:
        for _ in range(epochs):
            sizes.append(len(loader))
            delivered(loader, found=found)
        return found, loader.stats(), sizes


@pytest.mark.parametrize(
    "variant",
    [
        {},
        {"balance": "uniform"},
        {"subset": 0.6},
        {"epoch_size": 37},
        {"shuffle": False},
    ],
    ids=str,
)
def test_every_window_of_a_stream_has_its_share_and_every_row_its_class(sets, variant):
    found, _, _ = passes(opened(sets["real"], Mix(sets["gan"], 0.3), **variant), 2)
    plain, _, _ = passes(opened(sets["real"], None, **variant), 2)
    origins = names(found, 0) + names(found, 1)
    ahead = np.cumsum([0, *(10 * (name != "real") - 3 for name in origins)])
    assert ahead.max() - ahead.min() < 10
    assert found.keys() == plain.keys()
    own = {(row[0], visit(row)): row[4] for row in plain.values()}
    for epoch in range(2):
        rows_of = [row for place, row in found.items() if place[0] == epoch]
        labels = Counter(row[1] for place, row in plain.items() if place[0] == epoch)
        assert Counter(row[1] for row in rows_of) == labels
        mixed = Counter(row[1] for row in rows_of if row[2] != "real")
        assert all(abs(mixed[c] - 0.3 * labels[c]) < 1 for c in labels)
    for row in found.values():
        assert LABELS[row[1]] == named(row[0])
        assert (row[2] == "real") == row[0].startswith("r")
    assert len(own) == len(plain)
    for row in found.values():  # a real sample is the same wherever it stands
        assert row[2] != "real" or own[row[0], visit(row)] == row[4]


def test_a_balanced_mix_is_balanced(sets):
    found, _, _ = passes(opened(sets["real"], Mix(sets["gan"], 0.5), balance="uniform"))
    counts = Counter(row[1] for row in found.values())
    assert max(counts.values()) - min(counts.values()) <= 1


def test_appended_samples_come_beside_every_real_one_in_every_mode_of_choice(sets):
    for variant in ({"subset": 0.6}, {"balance": "uniform"}, {"epoch_size": 37}):
        mix = Mix(sets["gan"], 0.25, mode="append")
        found, _, _ = passes(opened(sets["real"], mix, **variant))
        plain, _, _ = passes(opened(sets["real"], None, **variant))
        own = [found[place][0] for place in sorted(found) if found[place][2] == "real"]
        assert own == [plain[place][0] for place in sorted(plain)]
        assert abs(len(found) - len(plain) / 0.75) <= 4 / 3


def test_classes_of_a_part_of_the_set_have_what_is_appended_to_that_part(sets):
    halves = dict.fromkeys(CLASSES, 0.5)
    mix = Mix(sets["gan"], mode="append", per_class=halves)
    found, _, _ = passes(opened(sets["real"], mix, epoch_size=25))
    assert shares(found, 0)["real"] == 25
    assert abs(shares(found, 0)["synthetic"] - 25) <= 3  # one of each class


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_loader_knows_how_long_each_epoch_is_that_appends(sets, drop_last):
    dataset = opened(sets["real"], Mix(sets["gan"], schedule=HALVES, mode="append"))
    with fiberaug.DataLoader(dataset, 8, drop_last=drop_last) as loader:
        for rows_due in (100, 67, 50):  # within one
            size, batches = len(loader), list(loader)
            count = sum(len(batch["__key__"]) for batch in batches)
            assert size == len(batches)
            if drop_last:
                assert abs(count - rows_due) < 8 + 1
            else:
                count = sum(int((~batch["is_pad"]).sum()) for batch in batches)
                assert abs(count - rows_due) <= 1
    assert [abs(dataset.positions(e) - n) <= 1 for e, n in enumerate((100, 67, 50))]


def test_a_data_set_is_as_long_as_its_next_epoch(sets):
    dataset = opened(sets["real"], Mix(sets["gan"], schedule=HALVES, mode="append"))
    for epoch in range(3):
        dataset.set_epoch(epoch)
        assert len(dataset) == dataset.positions(epoch)


def test_figures_say_what_was_delivered_and_what_was_asked_for(sets):
    mix = Mix({"gan": sets["gan"], "diffusion": sets["diffusion"]}, 0.6,
              weights={"gan": 1, "diffusion": 2})  # fmt: skip
    found, stats, _ = passes(opened(sets["real"], mix), 3)
    counted = sum((shares(found, epoch) for epoch in range(3)), Counter())
    for name, asked in (("real", 0.4), ("gan", 0.2), ("diffusion", 0.4)):
        assert stats[f"share/{name}"] == counted[name] / 150
        assert stats[f"asked/{name}"] == pytest.approx(asked)
        assert abs(counted[name] - 150 * asked) < 2
    assert stats["late"] == 0


def test_figures_of_a_schedule_are_those_of_the_batches_that_were_delivered(sets):
    dataset = opened(sets["real"], Mix(sets["gan"], schedule=HALVES))
    with fiberaug.DataLoader(dataset, 10) as loader:
        run = iter(loader)
        next(run)
        assert loader.stats()["asked/synthetic"] == pytest.approx(0.5)
        for _ in run:
            pass
        list(loader)
        assert loader.stats()["asked/synthetic"] == pytest.approx(0.375)
        assert loader.stats()["share/synthetic"] == pytest.approx(0.375, abs=1 / 100)


def test_padding_counts_for_no_source(sets):
    dataset = opened(sets["real"], Mix(sets["gan"], 0.5), rank=2, world_size=3)
    with fiberaug.DataLoader(dataset, 7) as loader:
        batches = list(loader)
        stats = loader.stats()
    counted = Counter(row[2] for row in delivered(batches).values())
    rows_of = sum(len(batch["__key__"]) for batch in batches)
    assert rows_of == counted.total() + 1  # 50 rows: 21, 21, and 3 + 3 + 2
    assert stats["share/synthetic"] == counted["synthetic"] / counted.total()


def test_figures_count_a_row_once_however_many_views_it_has(sets):
    dataset = opened(sets["real"], Mix(sets["gan"], 0.6), views=3, shuffle=False)
    found, stats, _ = passes(dataset, batch=7)
    assert stats["share/synthetic"] == shares(found, 0)["synthetic"] / 50


def test_figures_of_a_plain_set_say_that_all_of_it_is_real(sets):
    _, stats, _ = passes(opened(sets["real"], None))
    assert stats["share/real"] == 1
    assert not [name for name in stats if name.startswith("asked/")]


def test_shares_of_classes_are_exact_in_every_epoch(sets):
    mix = Mix(sets["gan"], 0.5, per_class={"bee": 0.3, "cow": 0})
    found, stats, _ = passes(opened(sets["real"], mix), 3)
    asked = 0
    for epoch in range(3):
        for label, share in enumerate((0.5, 0, 0.3)):  # ant, cow, bee
            own = [row for place, row in found.items()
                   if place[0] == epoch and row[1] == label]  # fmt: skip
            count = sum(row[2] != "real" for row in own)
            assert abs(count - share * len(own)) < 1
            asked += share * len(own)
    assert stats["asked/synthetic"] == pytest.approx(asked / 150)


def test_a_source_of_another_order_of_classes_has_the_data_sets_ids(sets, write_set):
    content = list(rows(9, prefix="g", seed=1))
    place = write_set((row for row in content if row["label"] != "ant"), name="two")
    mix = Mix(place, 0.5, per_class={"ant": 0, "bee": 1, "cow": 1})
    found, _, _ = passes(opened(sets["real"], mix))
    assert fiberaug.StreamingDataset(place).classes == ("bee", "cow")
    for key, label, origin, _, _ in found.values():
        assert (origin == "real") == (LABELS[label] == "ant")
        assert LABELS[label] == named(key)


def test_a_mix_without_classes_takes_any_sample(sets):
    mix = Mix(sets["small"], 0.5, match_labels=False)
    found, _, _ = passes(opened(sets["real"], mix))
    uses = Counter(row[0] for row in found.values() if row[2] != "real")
    assert sorted(uses) == [f"s{i:03}" for i in range(5)]
    assert max(uses.values()) - min(uses.values()) <= 1
    assert all(LABELS[row[1]] == named(row[0]) for row in found.values())


def test_a_sample_that_comes_again_is_drawn_anew(sets):
    mix = Mix(sets["small"], 0.5, match_labels=False)
    found, _, _ = passes(opened(sets["real"], mix, transform=PIPELINE))
    drawn = Counter((row[0], row[4]) for row in found.values() if row[2] != "real")
    assert len(drawn) > 15  # of 25: five images, of 25 crops and two sides each


def test_pool_images_are_mixed_among_tiles(sets, write_set):
    photos = write_set(rows(10, size=24), name="photos")
    found, _, _ = passes(
        fiberaug.StreamingDataset(photos, mix=Mix(sets["gan"], 0.5), tile=12, unit=4)
    )
    assert len(found) == 40
    assert shares(found, 0) == {"real": 20, "synthetic": 20}
    for *_, origin, text, pixels in found.values():
        record = fiberaug.Record.from_json(text)
        assert ("tile" in record.decode) == (origin == "real")
        assert len(pixels) == 12 * 12 * 3


def test_partners_of_mixup_can_be_mixed_in_and_are_on_record(sets):
    pipeline = A.Compose([A.RandomCrop(8, 8), A.Normalize()])
    dataset = opened(sets["real"], Mix(sets["gan"], 0.5), transform=pipeline)
    partners = set()
    with fiberaug.DataLoader(dataset, 8, batch_transform=MixUp(p=1)) as loader:
        for batch in loader:
            for record in batch["record"]:
                partners |= {p["key"][0] for p in record.batch["partners"]}
                for partner in record.batch["partners"]:
                    assert partner["position"] // 4 == record.position // 4
    assert partners == {"r", "g"}


def test_a_state_belongs_to_its_mix(sets):
    def state(mix):
        return opened(sets["real"], mix).state(0, 0)

    with fiberaug.DataLoader(opened(sets["real"], Mix(sets["gan"])), 8) as loader:
        loader.load_state_dict(state(Mix(sets["gan"])))
        for other in (
            None,
            Mix(sets["gan"], 0.3),
            Mix(sets["diffusion"]),
            Mix({"gan": sets["gan"]}),
            Mix(sets["gan"], mode="append"),
            Mix(sets["gan"], dry="real"),
            Mix(sets["gan"], max_reuse=3),
            Mix(sets["gan"], per_class={"bee": 0.5}),
            Mix(sets["gan"], match_labels=False),
            Mix(sets["gan"], match="real"),
        ):
            with pytest.raises(StateMismatch, match="mix"):
                loader.load_state_dict(state(other))


def test_sources_named_in_another_order_are_the_same_stream_or_another_mix(sets):
    found = []
    for order in (["gan", "diffusion"], ["diffusion", "gan"]):
        mix = Mix({name: sets[name] for name in order}, 0.5)
        dataset = opened(sets["real"], mix)
        found.append((dataset.state(0, 0), passes(dataset)[0]))
    (state, stream), (other, others) = found
    assert (state == other) == (stream == others)


def test_a_state_of_an_epoch_that_appends_may_be_beyond_the_real_samples(sets):
    mix = Mix(sets["gan"], schedule=HALVES, mode="append")
    with fiberaug.DataLoader(opened(sets["real"], mix), 8) as loader:
        state = loader.state_dict()
        loader.load_state_dict({**state, "position": 96})
        with pytest.raises(StateMismatch, match="position"):
            loader.load_state_dict({**state, "epoch": 2, "position": 96})


def test_a_ratio_of_0_is_no_mix_and_opens_nothing(sets):
    nowhere = "/nowhere/at/all"
    for mix in (
        Mix(nowhere, 0),
        Mix(nowhere, schedule=Schedule.linear(0, 0, epochs=3)),
    ):
        dataset = opened(sets["real"], mix)
        assert dataset.mixture is None
        assert dataset.state(0, 0) == opened(sets["real"], None).state(0, 0)
    assert torch.is_tensor(next(iter(fiberaug.DataLoader(dataset, 4)))["label"])
