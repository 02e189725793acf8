"""Partners: samples of a unit that are mixed, made wherever they are needed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fiberaug.making import Made
from fiberaug.mixes.base import Composition, Mix, RowDraw
from fiberaug.params import pack
from fiberaug.record import PackedRecord
from fiberaug.seeding import KeyedGenerators, unit_key

__all__ = ["Mixing", "Units", "View", "regrouped", "with_operations"]


class View(NamedTuple):
    """One view of a row."""

    fields: dict[str, Any]
    packed: PackedRecord


class Mixing(NamedTuple):
    """What units are mixed by."""

    mixes: tuple[Mix, ...]
    """The mixes, in their order."""

    unit: int
    """b0, rows of a unit."""

    seed: int
    """Seed of the run."""

    first_leaf: int
    """Number of the first mix in records."""

    @property
    def composes(self) -> list[tuple[int, Composition]]:
        """(number, mix) of the mixes that compose images in the worker."""
        return [(i, m) for i, m in enumerate(self.mixes) if isinstance(m, Composition)]


class Units:
    """The units of a batch: their draws, and the samples of their positions."""

    def __init__(
        self,
        plan: Mixing,
        epoch: int,
        reach: Callable[[int], int],
        deliver: Callable[[int], Made],
        rows: Sequence[Made],
    ) -> None:
        self._plan, self._epoch = plan, epoch
        self._reach, self._deliver = reach, deliver
        self._made = {made.packed.position: made for made in rows if not made.is_pad}
        self._draws: dict[tuple[int, int, int], list[RowDraw]] = {}
        self._generators = KeyedGenerators()

    def sample(self, position: int) -> Made:
        """Return the sample of a position, before any mix."""
        made = self._made.get(position)
        if made is None:
            made = self._made[position] = self._deliver(position)
        return made

    def is_masked(self, position: int) -> bool:
        """Return whether the sample of a position is broken, and stands for nothing."""
        made = self.sample(position)
        return made.is_pad and not made.packed.shape

    def draw(self, number: int, position: int, view: int) -> RowDraw:
        """Return what a mix draws for a position."""
        plan, size = self._plan, self._plan.unit
        unit, row = divmod(position, size)
        name = number, unit, view
        draws = self._draws.get(name)
        if draws is None:
            what = f"batch/{number}" + (f"/view {view}" if view else "")
            self._generators.jump(unit_key(plan.seed, self._epoch, unit, what))
            rows = self._reach((unit + 1) * size) - unit * size
            draws = plan.mixes[number].draw(self._generators.numpy, rows)
            self._draws[name] = draws
        return draws[row]

    def composed(self, made: Made) -> Made:
        """Return a row whose views are composed with their partners."""
        if made.is_pad and not made.packed.shape:
            return made  # it stands for a sample that is broken
        views = []
        for fields, packed in made.views():
            view = View(fields, packed)
            for number, mix in self._plan.composes:
                view = self._compose(view, number, mix)
            views.append(view)
        return regrouped([made], views)[0]

    def _compose(self, view: View, number: int, mix: Composition) -> View:
        plan, position, at = self._plan, view.packed.position, view.packed.view
        draw = self.draw(number, position, at)
        if not draw.applied:
            return view
        first = position // plan.unit * plan.unit
        if any(self.is_masked(first + row) for row in draw.partners):
            return view
        others = [_view_of(self.sample(first + row), at) for row in draw.partners]
        fields = mix.compose(view.fields, [other.fields for other in others], draw)
        leaf = plan.first_leaf + number
        packed = with_operations(
            view.packed, [(leaf, pack(draw.params))], mix.name, others
        )
        return View(fields, packed)


def _view_of(made: Made, view: int) -> View:
    """Return a view of a sample; a sample of one view has only that one."""
    views = made.views()
    return View(*(views[view] if len(views) > 1 else views[0]))


def with_operations(
    packed: PackedRecord,
    operations: Sequence[tuple[int, Mapping[str, Any]]],
    mix: str = "",
    others: Sequence[View] = (),
) -> PackedRecord:
    """Return a record that also holds operations, and the partners of a mix."""
    if not packed.shape:  # of a broken sample
        return packed
    partners = [(mix, p.key, p.url, p.number, p.position) for _, p in others]
    return packed._replace(
        operations=[*packed.operations, *operations],
        partners=(*packed.partners, *partners),
    )


def regrouped(rows: Sequence[Made], views: Sequence[View]) -> list[Made]:
    """Return rows with the views that are given, one behind the other."""
    found, at = [], 0
    for made in rows:
        (fields, packed), *more = views[at : at + 1 + len(made.more)]
        at += 1 + len(made.more)
        changed = made._replace(
            fields=fields, packed=packed, more=tuple((v[0], v[1]) for v in more)
        )
        found.append(changed)
    return found
