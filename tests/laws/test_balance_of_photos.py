"""subset, balance and epoch_size over ten unbalanced classes of real photos."""

import shutil
from collections import Counter

import numpy as np
import pytest
from dealt import places
from sets import DATA

import fiberaug

CLOTHING = DATA / "clothing-small/train"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not CLOTHING.is_dir(), reason="FIBERAUG_DATA names no folder"),
]


@pytest.fixture(scope="module")
def clothing(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos") / "set"
    fiberaug.convert(CLOTHING, folder, shard_size="16MB", workers=2, progress=False)
    yield str(folder)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def sizes(clothing):
    """Photos of each class, as the folders have them: 138 to 711."""
    classes = fiberaug.StreamingDataset(clothing).classes
    found = [len(list((CLOTHING / name).glob("*.jpg"))) for name in classes]
    assert len(found) == 10
    assert max(found) > 4 * min(found)
    return found


def dealt(dataset, epoch):
    """Return (shard, index, visit) and the label of each position of an epoch."""
    return [(tuple(place), label) for *place, label in places(dataset, epoch)]


@pytest.mark.parametrize("rule", ["uniform", "sqrt"])
@pytest.mark.parametrize("epoch_size", [None, 1000])
def test_the_histogram_of_every_epoch_is_the_rule(clothing, sizes, rule, epoch_size):
    """Within one photo of the exact share, in every epoch."""
    dataset = fiberaug.StreamingDataset(clothing, balance=rule, epoch_size=epoch_size)
    total = epoch_size or sum(sizes)
    shares = np.asarray(sizes, float) ** (0 if rule == "uniform" else 0.5)
    for epoch in (0, 1, 17):
        counts = Counter(label for _, label in dealt(dataset, epoch))
        histogram = np.asarray([counts[label] for label in range(10)])
        assert histogram.sum() == len(dataset) == total
        assert abs(histogram - total * shares / shares.sum()).max() < 1


def test_a_class_that_is_dealt_less_comes_whole_over_the_epochs(clothing, sizes):
    """Uniform deals 306 or 307 of a class in an epoch: the largest one has 711."""
    dataset = fiberaug.StreamingDataset(clothing, balance="uniform")
    largest = int(np.argmax(sizes))
    seen: set = set()
    covered = []
    for epoch in range(5):
        rows = dealt(dataset, epoch)
        seen |= {place[:2] for place, label in rows if label == largest}
        covered.append(len(seen))
        assert len({place for place, _ in rows}) == len(rows)  # no turn twice

    assert covered[0] < sizes[largest]
    assert covered[-1] == sizes[largest]


@pytest.mark.parametrize("share", [0.1, 0.37])
def test_a_fraction_of_the_photos_has_about_the_classes_of_all(clothing, sizes, share):
    rows = dealt(fiberaug.StreamingDataset(clothing, subset=share), 0)
    counts = Counter(label for _, label in rows)
    histogram = np.asarray([counts[label] for label in range(10)])
    expected = share * np.asarray(sizes)

    assert len(rows) == round(share * sum(sizes))
    assert (abs(histogram - expected) < 4 * np.sqrt(expected * (1 - share))).all()


def test_epochs_of_a_thousand_photos_go_through_all_of_them(clothing, sizes):
    dataset = fiberaug.StreamingDataset(clothing, epoch_size=1000)
    row = [place[:2] for epoch in range(4) for place, _ in dealt(dataset, epoch)]

    assert len(set(row[: sum(sizes)])) == sum(sizes)
