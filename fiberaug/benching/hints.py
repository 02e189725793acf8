"""What would make a set come faster, as far as it was measured here."""

from typing import NamedTuple

from fiberaug.benching.opened import Opened
from fiberaug.benching.operations import OperationCost
from fiberaug.benching.photos import Ceilings
from fiberaug.benching.stages import Stages, StageTimes
from fiberaug.benching.verdict import Verdict
from fiberaug.decode import turbo
from fiberaug.sizes import counted, format_bytes

__all__ = ["Hint", "Trials", "decodes_late", "give_hints"]

_LARGE = 0.25  # of the CPU time of an image: what is smaller is not worth a word
_GAIN = 0.15


class Hint(NamedTuple):
    """Something to do."""

    name: str
    """For programs; does not change."""

    text: str
    """What was found."""

    remedy: str
    """What to do; may be empty."""


class Trials(NamedTuple):
    """The stages of an image when something is done otherwise; None: not tried."""

    fast: Stages | None = None
    """With ``decode="fast"``."""

    plain: Stages | None = None
    """Some photos of the set, as they are."""

    seekable: Stages | None = None
    """The same photos, with restart markers."""


def decodes_late(opened: Opened) -> bool:
    """Return whether the pipeline draws its crop before photos are decoded."""
    augment = opened.engine.augment
    return augment is not None and augment.waits


def give_hints(
    opened: Opened,
    times: StageTimes,
    ceilings: Ceilings,
    *,
    operations: list[OperationCost],
    verdict: Verdict,
    trials: Trials,
) -> list[Hint]:
    """Return what would help, the most important first.

    Args:
        opened: The set.
        times: What a sample costs.
        ceilings: What reading and decoding take by themselves.
        operations: What operations cost.
        verdict: What limits.
        trials: What was tried otherwise.
    """
    whole = max(times.stages.whole, 1e-12)
    decodes = times.stages.decode / whole >= _LARGE
    hints = [
        *_of_reading(opened, ceilings, verdict),
        *(_of_decoding(opened, times, ceilings, trials) if decodes else ()),
        *_of_operations(opened, operations, whole),
        *_of_the_run(opened, verdict),
    ]
    if times.failures:
        hints.append(
            Hint(
                "broken",
                f"{counted(times.failures, 'broken sample')} met",
                "`fiberaug verify SHARDS --decode` names them",
            )
        )
    return hints


def _of_reading(opened: Opened, ceilings: Ceilings, verdict: Verdict) -> list[Hint]:
    hints = []
    if verdict.limit == "store":
        rate = ceilings.store_bytes_per_s
        if rate is not None:
            text = (
                f"the store delivers {format_bytes(int(rate))}/s, and full speed needs"
                f" {format_bytes(int(ceilings.bytes * verdict.images_per_s))}/s"
            )
            remedy = (
                "this holds for the first epoch; later ones read the cache, where"
                " cache_limit= has room for the set"
            )
        else:
            text = "samples that are read for the first time come slower than they go"
            remedy = "put the shards on a faster disk; what memory holds is fast"
        hints.append(Hint("store", text, remedy))
    if opened.rows is None:
        text = "the shards have no index: no length, one lane, photos decoded whole"
        hints.append(Hint("index", text, "`fiberaug index SHARDS --decode`, once"))
    return hints


def _of_decoding(
    opened: Opened, times: StageTimes, ceilings: Ceilings, trials: Trials
) -> list[Hint]:
    hints = []
    jpegs = sum(kind.share for kind in ceilings.kinds if "jpeg" in kind.name)
    why_not = turbo.why_not()
    if why_not and jpegs:
        text = "JPEGs are decoded whole: the compiled decoder is not there"
        hints.append(Hint("compiled-decoder", text, why_not))
    first, later = times.first.decode, times.stages.decode
    if (
        decodes_late(opened)
        and opened.rows is not None
        and not any(ref.opener for ref in opened.dataset.setup.refs)
        and ceilings.known_sound < 0.5
        and later < (1 - _GAIN) * first
    ):
        text = (
            f"the first epoch decodes every photo whole, {first * 1e6:,.0f} us; later"
            f" ones only what a crop needs, {later * 1e6:,.0f} us"
        )
        remedy = "`fiberaug index SHARDS --decode`, once: the first epoch is as fast"
        hints.append(Hint("first-epoch", text, remedy))
    if trials.plain is not None and trials.seekable is not None:
        before, after = trials.plain.decode, trials.seekable.decode
        if after < (1 - _GAIN) * before:
            text = (
                f"tried on some photos: with restart markers decoding takes"
                f" {after * 1e6:,.0f} us, without {before * 1e6:,.0f} us; same pixels"
            )
            hints.append(Hint("seekable", text, "`fiberaug seekable SHARDS`, once"))
    if trials.fast is not None and trials.fast.decode < (1 - _GAIN) * later:
        text = (
            f'tried: decode="fast" takes {trials.fast.decode * 1e6:,.0f} us for'
            f" {later * 1e6:,.0f}; it reduces photos while it decodes them, which gives"
            " slightly other pixels"
        )
        hints.append(Hint("fast", text, "--decode fast shows the whole effect"))
    return [*hints, *_of_kinds(ceilings), *_of_sizes(times, ceilings)]


def _of_kinds(ceilings: Ceilings) -> list[Hint]:
    hints = []
    base = next((k for k in ceilings.kinds if k.name == "jpeg"), None)
    for kind in ceilings.kinds:
        if kind.share < 0.05 or not kind.name.endswith(" jpeg"):
            continue
        text = (
            f"{kind.share:.0%} of the photos are {kind.name}s, which take"
            f" {kind.seconds_per_megapixel * 1e3:,.1f} ms a megapixel"
        )
        if base is not None:
            text += f", others {base.seconds_per_megapixel * 1e3:,.1f}"
        if kind.name.startswith("CMYK"):
            hints.append(Hint("cmyk", text, "convert them to RGB"))
        else:
            remedy = "`fiberaug seekable SHARDS` makes them baseline, same pixels"
            hints.append(Hint("progressive", text, remedy))
    return hints


def _of_sizes(times: StageTimes, ceilings: Ceilings) -> list[Hint]:
    ratio = ceilings.pixels / max(times.out_pixels, 1)
    if ratio < 8:
        return []
    side = 2 * round(times.out_pixels**0.5)
    text = (
        f"photos have {ceilings.pixels / 1e6:,.1f} megapixels, {ratio:,.0f} times what"
        " the recipe keeps"
    )
    remedy = (
        f"`fiberaug convert --resize {side}` keeps twice that a side, once and for all"
    )
    return [Hint("resize", text, remedy)]


def _of_operations(
    opened: Opened, operations: list[OperationCost], whole: float
) -> list[Hint]:
    leaves = [] if opened.engine.augment is None else opened.engine.augment.leaves
    hints = []
    for cost in operations:
        if cost.seconds < _LARGE * whole:
            break
        text = (
            f"{cost.name} (transforms[{cost.path}]) takes {cost.seconds * 1e6:,.0f} us"
            f" of an image, {cost.seconds / whole:.0%} of all"
        )
        if cost.applied < 0.95:
            text += f", and runs on {cost.applied:.0%} of them"
        places = [path for path, name in leaves if "Crop" in name or "Resize" in name]
        order = [path for path, _ in leaves]
        later = any(order.index(p) > order.index(cost.path) for p in places)
        remedy = "behind the crop or resize it has less to do" if later else ""
        hints.append(Hint("operation", text, remedy))
    return hints


def _of_the_run(opened: Opened, verdict: Verdict) -> list[Hint]:
    hints = []
    rows, size = opened.rows, opened.batch_size
    batches = None if rows is None else -(-rows // size)
    if batches is not None and batches < 4 * max(1, verdict.workers):
        text = f"an epoch has {batches} batches of {size}"
        remedy = "a worker makes whole batches: smaller ones keep more workers busy"
        hints.append(Hint("few-batches", text, remedy))
    if verdict.more:
        text = "CPUs were left, and the most workers that were tried were the best"
        hints.append(Hint("more-workers", text, "try more: --workers"))
    if not verdict.sure:
        text = (
            f"other programs kept {verdict.others:.1f} CPUs busy meanwhile: images a"
            " second and the number of workers are not to be trusted, CPU times are"
        )
        hints.append(Hint("busy-machine", text, "measure when nothing else runs"))
    return hints
