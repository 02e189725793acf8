"""All questions, asked in turn."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from fiberaug.checkup.contents import read_contents
from fiberaug.checkup.epoch import Run, check_epoch
from fiberaug.checkup.findings import Finding, ok, problem
from fiberaug.checkup.listing import list_shards
from fiberaug.checkup.remote import list_remote, reaches_beyond
from fiberaug.checkup.resources import (
    Width,
    check_machine,
    check_settings,
    mean_width,
)
from fiberaug.checkup.totals import (
    check_classes,
    check_indexes,
    check_lengths,
    check_shards,
)
from fiberaug.errors import DataRefused, StoreError
from fiberaug.sharing import steps

if TYPE_CHECKING:
    from fiberaug.mixture import Mixture

__all__ = ["examine"]

_PROBED = 8  # samples that are made with the recipe


def examine(
    shards: object,
    run: Run | None = None,
    *,
    index_dir: str | Path | None = None,
    recipe: str | Path | None = None,
    deep: bool = False,
    progress: bool = True,
) -> list[Finding]:
    """Return what there is to say of a set, a run over it, and this machine.

    Without ``deep`` it takes a second or less for 10,000 local shards, and no longer
    for more samples: shards are looked at from outside, and few side-cars are read.
    No remote shard is fetched, unless for a recipe.

    Args:
        shards: As :class:`fiberaug.StreamingDataset` takes them.
        run: The run that is planned.
        index_dir: Folder of the side-cars. None: beside the shards.
        recipe: Recipe file: a few samples are made with it and measured.
        deep: Read every side-car, and every header of shards that have none.
        progress: Show a bar on a terminal, where it is deep.

    Raises:
        UsageError: ``shards`` names nothing, or the recipe is refused.
        StoreError: The recipe cannot be read.
        SecurityRefused: ``shards`` is a ``pipe:`` URL.
    """
    run = run or Run()
    if reaches_beyond(shards):
        listing = list_remote(shards, index_dir=index_dir)
    else:
        listing = list_shards(shards, index_dir=index_dir)
    findings = [*listing.findings, *check_shards(listing), *check_indexes(listing)]
    findings += check_lengths(listing)
    contents = read_contents(listing, deep=deep, progress=progress)
    findings += contents.findings
    findings += check_classes(listing, contents.labels, whole=contents.whole)
    if listing.counts:
        sizes = [shard.bytes for shard in listing.readable]
        findings += check_epoch(listing.counts, sizes, run, remote=listing.remote)
    width = mean_width(contents)
    if recipe is not None and listing.readable:
        probed = list(_probe(shards, index_dir, recipe, run))
        findings += [one for one in probed if isinstance(one, Finding)]
        width = next((one for one in probed if isinstance(one, Width)), width)
    findings += check_machine(run, width, len(listing.shards))
    return [*findings, *check_settings()]


def _mixed(mixture: "Mixture", positions: int, run: Run) -> Finding:
    """Return what a mix makes of the first epoch."""
    asked = mixture.asked(0, 0, positions)
    count = steps(positions, run.global_batch, drop_last=False)
    sources = ", ".join(f"{part:,.1f} of {name}" for name, part in asked.items())
    text = f"the first epoch has {positions:,} samples, {count:,} steps: {sources}"
    return ok("mix", text, {"positions": positions, "steps": count, "asked": asked})


def _probe(
    shards: object, index_dir: str | Path | None, recipe: str | Path, run: Run
) -> Iterator[Finding | Width]:
    """Yield the bytes of a sample as workers send it, or why none can be made."""
    from fiberaug.dataset import StreamingDataset  # noqa: PLC0415  # torch
    from fiberaug.engine import Engine  # noqa: PLC0415  # as above
    from fiberaug.recipe import Recipe  # noqa: PLC0415  # as above

    transform = Recipe.from_file(recipe)
    sizes: list[int] = []
    shapes: set[tuple[int, ...]] = set()
    try:
        dataset = StreamingDataset(
            shards, index_dir=index_dir, transform=transform, record="none", split="all"
        )
        if dataset.mixture is not None:
            yield _mixed(dataset.mixture, dataset.positions(0), run)
        engine = Engine(dataset.setup)
        end = engine.order(0).reach(_PROBED)
        for made in islice(map(engine.deliver, [0] * end, range(end)), _PROBED):
            arrays = [v for v in made.fields.values() if hasattr(v, "nbytes")]
            sizes.append(sum(array.nbytes for array in arrays))
            shapes.add(made.fields["image"].shape)
    except (DataRefused, StoreError) as error:
        yield problem("recipe", str(error), "`fiberaug verify --decode` names all such")
        return
    if len(shapes) > 1:
        yield problem(
            "recipe",
            f"images come out in different sizes, such as {sorted(shapes)[:2]}",
            "end with one size (RandomResizedCrop, Resize), or use collate='pad'",
        )
    yield Width(max(sizes), f"{len(sizes)} samples made with the recipe")
