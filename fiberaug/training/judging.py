"""The judge of a training: looks at the generator now and then, and keeps the best."""

import csv
import io
import logging
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from fiberaug.errors import StateMismatch, UsageError
from fiberaug.evaluate.extracting import extractor_of
from fiberaug.evaluate.feeding import device_of
from fiberaug.files import write_atomically
from fiberaug.seeding import check_seed
from fiberaug.training.conditioned import outputs_of
from fiberaug.training.contracts import Photos, Verdict, View
from fiberaug.training.judges import read_network, write_network
from fiberaug.training.lessons import teach
from fiberaug.training.looking import LEAST, Asked, Yardstick, asked_for
from fiberaug.training.verdicts import Look, verdict_on

__all__ = ["Judge"]

_PHOTOS = 5000  # of the training that are looked at, and fewer where they are large
_BYTES = 1 << 28  # of photos in memory at a time
_LOOKS = 12  # in a training, if it is long enough
_PASSES = 50  # over the photos between two looks at most: then a copy shows
_SHARE = 0.03  # of the time that looks may take
_LESSON = (2_000, 20_000)  # photos that a judge learns from, least and most
_FOLDER, _WEIGHTS, _TABLE = "judge", "classifier.safetensors", "judge.csv"
_log = logging.getLogger("fiberaug")


class Judge:
    """Tells how good a generator is while it is trained, and which was the best.

    Every so many images it samples the averaged generator, always from the same seeds,
    and compares with photos that were held out, in the features of a small classifier
    that has learned from all photos. The best generator is that with the least kernel
    distance; one that copies its training photos is never the best, and ends the
    training. The loop keeps what was best.

    Figures are called ``judge/kid``, ``judge/recall``, ... (see
    :class:`fiberaug.training.verdicts.Look`); ``judge.csv`` has those of all looks. A
    look depends on images shown and on nothing of the machine's speed.

    Fewer than 10 photos are not judged. Below 50 held-out photos the training photos
    stand for them; then a generator that learns them by heart is told only by
    ``judge/given_back``.

    Args:
        every: Images shown between two looks. None: about twelve looks, more where a
            set is so small that it is learned by heart sooner, fewer where looks would
            take more than about 3 % of the time. The end of a training is looked at
            always.
        samples: Images of a look, >= 10.
        classifier: Its features are compared, and not those of a network of the
            judge's own; it gets images in [0, 1]. It must not have been trained on more
            of the training photos than of those that are held out.
        patience: Looks without a gain before training ends; None: it goes on.
        stop_on_copies: End training when the generator copies.
        seed: Of what is generated and of how the judge learns, in [0, 2**64).

    Raises:
        UsageError: An argument is out of range.
    """

    def __init__(
        self,
        *,
        every: int | None = None,
        samples: int = 1000,
        classifier: nn.Module | None = None,
        patience: int | None = None,
        stop_on_copies: bool = True,
        seed: int = 0,
    ) -> None:
        for name, value, least in (
            ("every", every, 1), ("samples", samples, LEAST), ("patience", patience, 1),
        ):  # fmt: skip
            if value is not None and (type(value) is not int or value < least):
                raise UsageError(f"{name} must be an integer >= {least}, got {value!r}")
        self.every, self.samples, self.classifier = every, samples, classifier
        self.patience, self.stop_on_copies = patience, stop_on_copies
        self.seed = check_seed(seed)
        self._looks: list[Look] = []
        self._extractor = ""
        self._lesson = 0
        self._between = 0
        self._next = 0
        self._yardstick: Yardstick | None = None
        self._asked = Asked([], [])
        self._conditioned = False

    @property
    def looks(self) -> tuple[Look, ...]:
        """What was found so far, in order."""
        return tuple(self._looks)

    def begin(self, view: View) -> None:
        """Learn from the photos, or take what was learned before."""
        source = view.source
        height, width = source.size
        most = min(_PHOTOS, max(LEAST, _BYTES // (height * width * source.channels)))
        train = source.reference(most)
        held_out = source.reference(most, held_out=True)
        if len(train.images) < LEAST:
            self._tell(
                view,
                f"{len(train.images)} photos are too few to judge a generator by: at"
                f" least {LEAST}; the last generator is kept",
            )
            return
        if not self._between:
            self._between = self.every or self._chosen(view)
            self._next = self._between
        classifier = self._taught(view, train, held_out)
        self._yardstick = Yardstick.of(classifier, train, held_out)
        classes = len(source.classes)
        self._conditioned = classes > 1 and classes == outputs_of(
            classifier, train.images[:1]
        )
        self._asked = asked_for(train, self.samples, self.seed)

    def step(self, view: View) -> Verdict | None:
        """Look, where it is time to."""
        if self._yardstick is None:
            return None
        if view.nimg < min(self._next, view.total) or not view.task.finite():
            return None
        while self._next <= view.nimg:
            self._next += self._between
        look = self._yardstick.look(
            view.task, self._asked, nimg=view.nimg, conditioned=self._conditioned
        )
        self._looks.append(look)
        view.figures.update(look.figures())
        self._write(view.out)
        return verdict_on(
            self._looks, patience=self.patience, stop_on_copies=self.stop_on_copies
        )

    def end(self, view: View) -> None:
        """Let go of the photos."""
        del view
        self._yardstick = None

    def state_dict(self) -> dict[str, Any]:
        """Return what it must know to go on, fit for JSON."""
        return {
            "every": self._between, "next": self._next, "lesson": self._lesson,
            "extractor": self._extractor,
            "looks": [look.to_dict() for look in self._looks],
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._between, self._next = state["every"], state["next"]
        self._lesson, self._extractor = state["lesson"], state["extractor"]
        self._looks = [Look.from_dict(look) for look in state["looks"]]

    def _chosen(self, view: View) -> int:
        """Return the images between two looks."""
        often = min(-(-view.total // _LOOKS), _PASSES * view.source.photos)
        return max(often, round(view.task.sample_cost / _SHARE * self.samples))

    def _taught(self, view: View, train: Photos, held_out: Photos) -> nn.Module:
        """Return the classifier, the same one as before where a training goes on."""
        if self.classifier is not None:
            mine = extractor_of(self.classifier)
            if self._extractor not in {"", mine}:
                raise StateMismatch(
                    f"the judge has looked with classifier {self._extractor[:12]}, and"
                    f" classifier= is {mine[:12]}; give the one that training began"
                    " with"
                )
            self._extractor = mine
            return self.classifier
        if not self._lesson:
            least, most = _LESSON
            self._lesson = min(max(view.total // 10, least), most)
        path = view.out / _FOLDER / _WEIGHTS
        source = view.source
        outputs = max(1, len(source.classes))
        where = device_of(next(iter(view.task.modules().values())))
        if self._extractor:
            known = read_network(path, source.size, source.channels, outputs)
            if known is not None and extractor_of(known) == self._extractor:
                return known.to(where)
        labels = None
        if outputs > 1 and train.labels is not None and held_out.labels is not None:
            labels = np.concatenate([train.labels, held_out.labels])
        network = teach(
            np.concatenate([train.images, held_out.images]), labels, outputs=outputs,
            shown=self._lesson, seed=self.seed, device=where,
        )  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        write_network(path, network)
        mine = extractor_of(network)
        if self._extractor not in {"", mine}:
            self._tell(
                view,
                f"{path} is lost and what the judge has learned anew differs: earlier"
                " looks count no more",
            )
            self._looks.clear()
        self._extractor = mine
        return network

    def _write(self, out: Path) -> None:
        """Write the table of all looks."""
        text = io.StringIO()
        names = [one.name for one in fields(Look)]
        table = csv.DictWriter(text, names, lineterminator="\n")
        table.writeheader()
        table.writerows(look.to_dict() for look in self._looks)
        write_atomically(out / _TABLE, text.getvalue().encode())

    def _tell(self, view: View, note: str) -> None:
        _log.warning("%s", note)
        view.notes.append(note)
