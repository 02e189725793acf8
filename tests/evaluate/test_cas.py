"""What a classifier learns from one set, measured on another."""

import logging

import numpy as np
import pytest
import torch
from torch import nn

import fiberaug
from fiberaug.errors import UsageError
from fiberaug.evaluate import classification_accuracy_score as cas


def squares(seed, count=90, classes=3):
    """Gray noise with a bright square whose place is the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    images = rng.integers(0, 90, (count, 8, 12), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2:6, 4 * label : 4 * label + 4] += 120
    return images, labels


def linear(seed):
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(96, 3))


def score(train, test=None, **arguments):
    arguments = {"steps": 60, "seeds": (0, 1), "batch_size": 16} | arguments
    test = squares(1) if test is None else test
    return cas(train, test, linear, **arguments)


def test_what_can_be_learnt_is_learnt_and_wrong_labels_are_not():
    images, labels = squares(0)
    good = score((images, labels))
    wrong = score((images, (labels + 1) % 3))

    assert good.mean > 0.95
    assert wrong.mean < 0.05
    assert good.untrained == ()
    assert good.to_dict()["mean"] == np.mean(good.accuracies)
    assert good.sd == pytest.approx(np.std(good.accuracies, ddof=1))
    assert score((images, labels), seeds=[3]).sd is None


def test_accuracies_per_class_make_the_accuracy():
    images, labels = squares(0)
    test = squares(1, 60)
    mixed = np.where(labels == 2, 0, labels)  # class 2 is never shown
    found = score((images, mixed), test, steps=300)

    assert found.per_class[2] == 0
    assert found.per_class[1] > 0.9
    assert np.mean(list(found.per_class.values())) == pytest.approx(found.mean)


def test_a_class_that_training_lacks_is_named(caplog):
    images, labels = squares(0)
    with caplog.at_level(logging.WARNING, "fiberaug"):
        found = score((images[labels != 1], labels[labels != 1]))

    assert found.untrained == (1,)
    assert "classes [1] of the test set are not in the training set" in caplog.text


def test_it_is_a_function_of_the_seeds_and_leaves_generators_alone():
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first = score(squares(0), steps=5)
    torch.manual_seed(6)
    second = score(squares(0), steps=5, seeds=(1, 0))
    torch.manual_seed(5)
    third = score(squares(0), steps=5)

    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert first == third
    assert first.accuracies == second.accuracies[::-1]
    assert first.accuracies[0] != first.accuracies[1]


def test_threads_are_bounded_while_it_runs():
    seen = []

    def model(seed):
        seen.append(torch.get_num_threads())
        return linear(seed)

    cas(squares(0), squares(1), model, steps=1, seeds=(0, 1), threads=2)

    assert seen == [2, 2]


class Counted:
    """A loader that counts what is taken, in passes of some batches."""

    def __init__(self, batches):
        self.batches, self.taken, self.epochs = batches, 0, []

    def __iter__(self):
        for batch in self.batches:
            self.taken += 1
            yield batch

    def set_epoch(self, epoch):
        self.epochs.append(epoch)


@pytest.mark.parametrize("steps", [1, 4, 5, 13])
def test_each_seed_takes_so_many_steps_whatever_the_length_of_a_pass(steps):
    images, labels = squares(0, 50)
    pixels = torch.from_numpy(images)[:, None]
    loader = Counted(
        [(pixels[i : i + 10], labels[i : i + 10]) for i in range(0, 50, 10)]
    )
    made = []

    class Counting(torch.optim.SGD):
        counted = 0

        def step(self, closure=None):
            self.counted += 1
            return super().step(closure)

    def optimizer(parameters):
        made.append(Counting(parameters, lr=0.1))
        return made[-1]

    found = cas(
        loader, squares(1), linear, steps=steps, seeds=(0, 1, 2), optimizer=optimizer
    )

    assert [m.counted for m in made] == [steps] * 3
    assert loader.taken == 3 * steps
    assert loader.epochs == [0, 0, 0]
    assert found.steps == steps


def test_shares_of_classes_can_be_learnt_from():
    images, labels = squares(0)
    soft = np.float32(np.eye(3))[labels] * 0.8 + 0.2 / 3

    assert score((images, soft)).mean > 0.95


def test_small_sets_are_dealt_in_full_batches():
    assert score(squares(0, 5), squares(1), steps=3, batch_size=16).mean >= 0


def test_data_sets_are_learnt_from_and_tested_on(write_set):
    def content(seed):
        for i, (image, label) in enumerate(zip(*squares(seed), strict=True)):
            yield {
                "__key__": f"k{i:03d}",
                "image": image[:, :, None].repeat(3, 2),
                "label": int(label),
            }

    def model(seed):
        return nn.Sequential(nn.Flatten(), nn.Linear(288, 3))

    train = fiberaug.StreamingDataset(write_set(content(0), "train"))
    test = fiberaug.StreamingDataset(write_set(content(1), "test"), train=False)

    arguments = {"steps": 60, "seeds": (0,), "batch_size": 16}
    found = cas(train, test, model, **arguments)
    assert found.mean > 0.95
    assert cas(train, test, model, **arguments) == found


IMAGES, LABELS = squares(0)


@pytest.mark.parametrize(
    ("train", "test", "arguments", "words"),
    [
        (IMAGES, None, {}, "train has images without labels"),
        ((IMAGES, LABELS), (IMAGES, None), {}, "test must have class ids"),
        ((IMAGES, LABELS), (IMAGES, np.eye(3)[LABELS]), {}, "test must have class ids"),
        ((IMAGES, LABELS), [], {}, "test has no images"),
        ((IMAGES[:0], LABELS[:0]), None, {}, "train has no images"),
        ([], None, {}, "train ended at step 0 of 60: a pass gave no image"),
        ((IMAGES, LABELS + 1), None, {}, "train has labels from"),
        ((IMAGES, LABELS - 1), None, {}, "train has labels from -1"),
        ((IMAGES, LABELS), (IMAGES, LABELS + 9), {}, "test has labels from 9 to 11"),
        ((IMAGES, LABELS), None, {"steps": 0}, "steps must be >= 1"),
        ((IMAGES, LABELS), None, {"seeds": ()}, "seeds not empty"),
        ((IMAGES, LABELS), None, {"batch_size": 0}, "batch_size must be >= 1"),
        ((IMAGES, LABELS), None, {"threads": 0}, "threads must be >= 1, got 0"),
        ((IMAGES * np.float32(np.nan), LABELS), None, {}, "the loss is nan at step 0"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(train, test, arguments, words):
    with pytest.raises(UsageError, match=words):
        score(train, test, **arguments)


def test_an_iterator_ends_after_one_pass():
    pixels = torch.from_numpy(IMAGES)[:, None]
    with pytest.raises(UsageError, match=r"step 1 of 60.*not an iterator"):
        score(iter([(pixels, LABELS)]))


def test_a_model_of_another_form_is_refused():
    with pytest.raises(UsageError, match=r"must give \[B, K\] logits, got \[512, 12\]"):
        cas(
            (IMAGES, LABELS), squares(1), lambda seed: nn.Sequential(nn.Flatten(0, 2)),
            steps=1, optimizer=lambda _: torch.optim.SGD([torch.zeros(1)], 1),
        )  # fmt: skip
