"""What a judge compares: photos and generated images, as a classifier sees them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fiberaug.evaluate.copies import closer_to_train, near_copies
from fiberaug.evaluate.kernels import kid
from fiberaug.evaluate.manifolds import density_coverage, precision_recall
from fiberaug.seeding import key
from fiberaug.training.conditioned import predictions
from fiberaug.training.contracts import Photos, Task
from fiberaug.training.describing import Description, Seen, batch_of, see
from fiberaug.training.givenback import given_back
from fiberaug.training.verdicts import Look

__all__ = ["LEAST", "Asked", "Yardstick", "asked_for"]

LEAST = 10
"""Photos, and images of a look, below which nothing can be said."""

_LEAST_HELD_OUT = 50  # photos below which figures compare with those of the training
_COMPARED = 2000  # of these


class Asked(NamedTuple):
    """What a generator is asked for at each look."""

    seeds: list[int]
    labels: list[int]
    places: NDArray[np.float32] | None = None

    def parts(self, rows: int) -> Iterator["Asked"]:
        """Yield the same in parts of so many rows."""
        for at in range(0, len(self.seeds), rows):
            some = slice(at, at + rows)
            places = None if self.places is None else self.places[some]
            yield Asked(self.seeds[some], self.labels[some], places)


def asked_for(photos: Photos, count: int, seed: int) -> Asked:
    """Return what to ask for, with labels and places as photos have them.

    The seeds are the same at each look: two looks differ by the generator alone.

    Args:
        photos: At least one.
        count: Images.
        seed: In [0, 2**64).
    """
    drawn = key(seed, 0, 0, 0, 0, "train/looks")
    draw = np.random.default_rng(int.from_bytes(drawn, "little"))
    rows = np.arange(count) * len(photos.images) // count
    labels = np.zeros(count, np.int64) if photos.labels is None else photos.labels[rows]
    places = None if photos.places is None else photos.places[rows]
    return Asked(draw.integers(2**63, size=count).tolist(), labels.tolist(), places)


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """Photos as a classifier sees them, to hold generated images against."""

    classifier: nn.Module
    train: Seen
    held_out: Seen | None
    """Photos that are not trained on; None: there are too few."""

    description: Description

    rows: int
    """Images that are made at a time."""

    @classmethod
    def of(cls, classifier: nn.Module, train: Photos, held_out: Photos) -> Self:
        """Return one of these photos.

        Raises:
            UsageError: The classifier cannot look at them, or sees no difference.
        """
        seen = see(classifier, train.images)
        enough = len(held_out.images) >= _LEAST_HELD_OUT
        others = see(classifier, held_out.images) if enough else None
        rows = batch_of(train.images[0].size)
        return cls(classifier, seen, others, Description.of(seen), rows)

    def look(
        self, task: Task, asked: Asked, *, nimg: int = 0, conditioned: bool = False
    ) -> Look:
        """Return figures of the images that a task makes now.

        Args:
            task: What makes them.
            asked: What to ask it for.
            nimg: Images shown before.
            conditioned: Whether labels were asked for, and are to be looked for.
        """
        seen: list[Seen] = []
        hits: list[bool] = []
        for some in asked.parts(self.rows):
            images = task.sample(*some)
            seen.append(see(self.classifier, images))
            if conditioned:
                taken = predictions(self.classifier, images)
                hits += (taken == np.asarray(some.labels)).tolist()
        together = Seen(
            np.concatenate([one.features for one in seen]),
            np.concatenate([one.grain for one in seen]),
        )
        accuracy = float(np.mean(hits)) if conditioned else None
        return self.figures(together, nimg=nimg, label_accuracy=accuracy)

    def figures(
        self, made: Seen, *, nimg: int = 0, label_accuracy: float | None = None
    ) -> Look:
        """Return figures of images.

        Args:
            made: At least 10.
            nimg: Images shown before.
            label_accuracy: Share of them that show the class that was asked for.
        """
        photos = self.held_out
        if photos is None:
            photos = Seen(self.train.features[:_COMPARED], self.train.grain[:_COMPARED])
        distance = kid(self.description(photos), self.description(made))
        balls = precision_recall(photos.features, made.features)
        manifold = density_coverage(photos.features, made.features)
        given = given_back(made.features, self.train.features)
        share = low = None
        if self.held_out is not None:
            share, low, _ = closer_to_train(
                made.features, self.train.features, self.held_out.features
            )
        return Look(
            nimg=nimg, kid=distance.value, kid_error=distance.error,
            precision=balls.precision, recall=balls.recall,
            density=manifold.density, coverage=manifold.coverage,
            near_copies=near_copies(made.features, self.train.features).share,
            given_back=given.value, given_back_low=given.low,
            closer_to_train=share, closer_to_train_low=low,
            label_accuracy=label_accuracy,
        )  # fmt: skip
