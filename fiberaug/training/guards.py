"""A watcher that sees when a training goes wrong, and says what helps."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.training.contracts import Verdict, View
from fiberaug.training.pace import Pace
from fiberaug.training.symptoms import Balance, Variety, runaway, variety_of

__all__ = ["Guard"]

_log = logging.getLogger("fiberaug")
_FINITE_EVERY = 16  # steps
_EACH, _CLASSES = 6, 4  # images that are looked at
_PHOTOS = 64
_FLAT = 0.02  # share of the photos' variety, below which there is none
_GRACE = 0.1  # share of a run in which images may still all be alike
_LOOKS_TO_WARN, _LOOKS_TO_STOP = 2, 6

_Photos = tuple[Variety, NDArray[np.float32] | None]


class Guard:
    """Sends a training back, warns, or ends it, with one sentence for each.

    - A figure or a weight that is no number: back to the last state. The loop then
      halves the learning rates.
    - The critic tells all pairs of real and generated images apart, for long, and its
      lead grows: a note after a twentieth of the run, the end after a further tenth.
    - Generated images are all alike, or are all one flat colour, though photos are not:
      a note when they are seen twice, the end when six times in succession.

    Args:
        every: Images from one look at generated images to the next. None: a fortieth
            of all, but at least 2,000.

    Raises:
        UsageError: ``every`` is below 1.
    """

    def __init__(self, *, every: int | None = None) -> None:
        self._pace = Pace(every, times=40, least=2_000)
        self._balance = Balance()
        self._alike, self._warned = 0, False
        self._photos: _Photos | None = None

    def begin(self, view: View) -> None:
        """Count from where the training is."""
        self._balance.before = view.nimg

    def step(self, view: View) -> Verdict | None:
        """Look at the figures of a step, and now and then at weights and images."""
        wrong = runaway(view.figures)
        if not wrong and view.step % _FINITE_EVERY == 0 and not view.task.finite():
            wrong = "a weight is not finite"
        if wrong:
            return Verdict(rewind=wrong)
        self._balance.see(view.figures, view.nimg, view.total)
        return self._critic_won(view) or self._images_alike(view)

    def end(self, view: View) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return the averages, and how often images were alike."""
        return {
            "balance": self._balance.to_dict(),
            "alike": self._alike,
            "warned": self._warned,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._balance = Balance(**state["balance"])
        self._alike, self._warned = int(state["alike"]), bool(state["warned"])

    def _critic_won(self, view: View) -> Verdict | None:
        balance = self._balance
        lost = balance.lost(view.total)
        if not lost:
            self._warned = self._warned and balance.since is not None
            return None
        sentence = (
            f"the critic tells {balance.right:.1%} of pairs of real and generated"
            f" images apart since {balance.since:,} images, and its lead grows: the"
            " generator learns nothing from it; give a larger gamma, a smaller"
            " critic_lr, or more augmentation"
        )
        if lost == "stop":
            return Verdict(stop=sentence)
        if not self._warned:
            self._warned = True
            _note(view, sentence)
        return None

    def _images_alike(self, view: View) -> Verdict | None:
        due = self._pace.due(view)
        if not due or view.nimg < _GRACE * view.total:
            return None
        photos, place = self._of_photos(view)
        labels = np.repeat(
            np.arange(min(len(view.source.classes), _CLASSES) or 1), _EACH
        )
        places = None if place is None else np.repeat(place, len(labels), axis=0)
        images = view.task.sample(list(range(len(labels))), labels.tolist(), places)
        made = variety_of(images, labels)
        if made.between >= _FLAT * photos.between and (
            made.within >= _FLAT * photos.within
        ):
            self._alike = 0
            return None
        self._alike += 1
        flat = made.within < _FLAT * photos.within
        what = "flat, of one colour" if flat else "alike, whatever the seed"
        mine, real = (one.within if flat else one.between for one in (made, photos))
        sentence = (
            f"generated images are {what}: their pixels differ by {mine:.1f} levels and"
            f" those of photos by {real:.1f}; give a smaller lr, more augmentation, or"
            " another seed"
        )
        if self._alike >= _LOOKS_TO_STOP:
            return Verdict(stop=sentence)
        if self._alike == _LOOKS_TO_WARN:
            _note(view, f"after {view.nimg:,} images: {sentence}")
        return None

    def _of_photos(self, view: View) -> _Photos:
        """Return the variety of photos, and where the first of them lies."""
        if self._photos is None:
            photos = view.source.reference(_PHOTOS)
            labels = photos.labels
            if labels is None:
                labels = np.zeros(len(photos.images), np.int64)
            place = None if photos.places is None else photos.places[:1]
            self._photos = variety_of(photos.images, labels), place
        return self._photos


def _note(view: View, sentence: str) -> None:
    _log.warning(sentence)
    view.notes.append(sentence)
