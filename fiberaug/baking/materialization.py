"""A bake that can be looked at before it is run: what it depends on, and its run."""

import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from typing import Any

from fiberaug.augment.environment import environment_hash
from fiberaug.augment.opaque import callable_name, source_hash
from fiberaug.baking.baker import Baker, Measured, Span
from fiberaug.baking.naming import digits_of, shard_name
from fiberaug.baking.options import BakeOptions
from fiberaug.baking.packing import Packer
from fiberaug.baking.remaining import decode_section, to_yaml
from fiberaug.baking.reporting import ERRORS, Report
from fiberaug.baking.seen import record_field
from fiberaug.dataset import StreamingDataset
from fiberaug.errors import SampleBroken, UsageError
from fiberaug.jobs.converting import Bar
from fiberaug.jobs.crew import Done, run_jobs
from fiberaug.jobs.raycrew import run_on_ray
from fiberaug.jobs.stores import Store
from fiberaug.jobs.target import Target, find_finished
from fiberaug.jobs.unit import Written
from fiberaug.recipe import Recipe
from fiberaug.shards.manifest import MARK, Manifest
from fiberaug.sizes import counted, format_bytes

__all__ = ["RECIPE", "Materialization"]

_log = logging.getLogger("fiberaug")
RECIPE = "recipe.yaml"
"""What is left to do when the set is read."""

_at_work: dict[int, Baker] = {}


@dataclass(frozen=True, kw_only=True)
class Materialization:
    """A bake that can be looked at before it is run."""

    dataset: StreamingDataset
    """The samples that are baked, in the order in which it deals them."""

    store: Store
    """Where the shards go."""

    options: BakeOptions
    """How they are written."""

    epochs: range
    """Which epochs."""

    rest: Recipe
    """What is left to do when the set is read."""

    prefix: bool = False
    """Only the beginning that draws nothing is baked: one copy of every sample."""

    done: Recipe | None = None
    """That beginning."""

    why: str = ""
    """What stopped it."""

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """What the shards depend on, as ``dataset.json`` states it."""
        dataset, setup, options = self.dataset, self.dataset.setup, self.options
        policy = setup.on_error
        if not isinstance(policy, str):
            policy = f"{callable_name(policy)} {source_hash(policy)}"
        return {
            "materialized": "prefix" if self.prefix else "epochs",
            "fingerprint": dataset.shard_set.fingerprint,
            "recipe": dataset.recipe_hash,
            "epochs": [self.epochs[0], self.epochs[-1]],
            "seed": dataset.plan.seed,
            "train": dataset.train,
            "plan": dataset.plan.to_json(),
            "fields": {s.name + "?" * s.optional: str(s) for s in dataset.specs},
            "views": setup.views,
            "records": dataset.record != "none",
            "pixel_hash": setup.pixel_hash,
            "on_error": policy,
            "on_shard_error": "skip" if setup.skip_shards else "raise",
            "shard_size": options.shard_size,
            "encode": options.encode,
            "quality": options.quality if options.encode == "jpeg" else None,
            "environment": environment_hash(),
            **({"seekable": True} if options.seekable else {}),
        }

    @cached_property
    def known(self) -> Manifest | None:
        """The set that this very bake has written before.

        Raises:
            UsageError: Another set is there, or an unfinished one of other arguments.
        """
        finished = find_finished(self.store, self.arguments)
        begun = self.store.read(MARK)
        if finished is None and begun is not None:
            _check_same(self.store.place, begun, self.arguments)
        return finished

    @cached_property
    def baker(self) -> Baker:
        """What makes and writes the shards, in any process."""
        dataset, setup = self.dataset, self.dataset.setup
        packer = Packer(
            specs=dataset.specs,
            kinds=setup.decoder.kinds,
            classes=setup.decoder.classes,
            options=setup.decoder.options,
            decoders=frozenset(setup.decoder.decoders),
            encode=self.options.encode,
            quality=self.options.quality,
            seekable=self.options.seekable,
            record=record_field(spec.name for spec in dataset.specs),
        )
        kept = dataset.record != "none"
        text = json.dumps(self.arguments, sort_keys=True)
        return Baker(
            store=self.store, setup=setup, packer=packer,
            context=dataset.context(self.epochs[0]) if kept else None,
            identity=sha256(text.encode()).hexdigest(),
            digits=digits_of(self.epochs[-1]),
            keep_keys=self.prefix, draws=not self.prefix,
        )  # fmt: skip

    @cached_property
    def measured(self) -> Measured:
        """What the first samples tell of all: the same on every machine."""
        # In a process of its own where there are others: what runs here must not fork.
        workers = min(2, self.processes)
        with closing(self._run("measure", [(list(self.epochs),)], workers)) as found:
            measured: Measured = next(found)
        return measured

    @property
    def processes(self) -> int:
        """Local worker processes."""
        affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
        cores = len(affinity(0)) if affinity else os.cpu_count() or 1
        return self.options.workers or cores

    def spans(self) -> Iterator[Span]:
        """Yield the shards that are to be written, in the order of the stream.

        Their lengths follow from the data and the arguments, never from the workers.
        """
        size = self.measured.position_bytes or self.options.shard_size
        length = max(1, int(self.options.shard_size / size))
        digits = digits_of(self.epochs[-1])
        for epoch, end in zip(self.epochs, self.measured.ends, strict=True):
            shown = None if self.prefix else epoch
            for number, start in enumerate(range(0, end, length)):
                name = shard_name(number, shown, digits)
                yield Span(name, epoch, start, min(end, start + length))

    def describe(self) -> dict[str, Any]:
        """Return what would be written, in figures."""
        positions = sum(self.measured.ends)
        return {
            "samples": positions * self.dataset.setup.views,
            "epochs": [self.epochs[0], self.epochs[-1]],
            "shards": sum(1 for _ in self.spans()),
            "bytes": int(positions * self.measured.position_bytes),
            "done": [name for one in self._baked for name in one],
            "left_to_do": self.rest.to_dict(),
        }

    @property
    def _baked(self) -> tuple[Mapping[str, Any], ...]:
        return () if self.done is None else self.done.cpu

    def run(self) -> Manifest:
        """Write the shards; see :func:`fiberaug.baking.materializing.materialize`."""
        if self.known is not None:
            place = self.store.place
            _log.info("%s was written before by the same bake", place)
            return self.known
        if self.options.encode == "jpeg":
            _log.warning("JPEG changes pixels: they are not the stream's any more")
        told = self.describe()
        _log.info(
            "to bake: %s in %s, about %s",
            counted(told["samples"], "sample"), counted(told["shards"], "shard"),
            format_bytes(told["bytes"]),
        )  # fmt: skip
        target = Target(self.store, self.arguments, resume=True)
        report = Report(self.dataset.max_errors, self.measured.ends, self.epochs)
        names = []
        with closing(self._written()) as running:
            for span, written in zip(self.spans(), running, strict=True):
                report.add(span.epoch, written)
                names.append(span.name)
        target.drop_others(names)
        return self._finish(target, report)

    def _finish(self, target: Target, report: Report) -> Manifest:
        if not report.entries:
            raise SampleBroken(
                "no sample can be made; the first:"
                f" {next(iter(report.lines()), {}).get('reason')}"
            )
        options = self.dataset.setup.decoder.options
        decode = decode_section(options, plain=report.seen.plain)
        rest = replace(self.rest, decode=decode)
        self.store.write(RECIPE, to_yaml(rest))
        lines = report.lines()
        if lines:
            text = "".join(json.dumps(line) + "\n" for line in lines)
            self.store.write(ERRORS, text.encode())
        else:
            self.store.remove(ERRORS)
        manifest = self.dataset.shard_set.manifest
        about = dict(manifest.about) if manifest is not None else {}
        if self.prefix:
            about["baked_operations"] = list(self._baked)
        targets = dict(self.dataset.setup.decoder.kinds)
        if targets:
            about["additional_targets"] = targets
        fields = report.seen.fields(self.dataset.specs)
        return target.finish(report.entries, self.dataset.classes, fields, about=about)

    def _written(self) -> Generator[Written]:
        """Yield what became of each span, in their order whoever baked them."""
        total = sum(self.measured.ends) * self.dataset.setup.views

        def told(done: Done) -> None:
            bar.told(done._replace(images=min(total, done.images)))

        with Bar(total, "bake", shown=self.options.progress) as bar:
            jobs = ((span,) for span in self.spans())
            if self.options.engine == "ray":
                running: Generator[Written] = run_on_ray(
                    self.baker.write, jobs, workers=self.options.workers, told=told
                )
            else:
                running = self._run("write", jobs, self.processes, told)
            # Closed here: after Ctrl-C workers stop now, not when this is garbage.
            with closing(running) as results:
                yield from results

    def _run(
        self,
        method: str,
        jobs: Iterable[tuple[Any, ...]],
        workers: int,
        told: Callable[[Done], None] = lambda _: None,
    ) -> Generator[Any]:
        """Yield what a method of the baker gives for each job, in local processes.

        A fork leaves the baker where they find it: so a pipeline with functions that do
        not pickle can be baked, too, and nothing is sent again with every job.
        """
        if "fork" not in multiprocessing.get_all_start_methods():
            work = getattr(self.baker, method)
            yield from run_jobs(work, jobs, workers=workers, told=told)
            return
        token = id(self)
        _at_work[token] = self.baker
        try:
            found = ((token, method, *job) for job in jobs)
            yield from run_jobs(_inherited, found, workers=workers, told=told)
        finally:
            del _at_work[token]


def _inherited(token: int, method: str, *job: Any) -> Any:  # noqa: ANN401  # of the method
    return getattr(_at_work[token], method)(*job)


def _check_same(place: str, begun: bytes, arguments: Mapping[str, Any]) -> None:
    """Refuse to go on with what other arguments have begun."""
    try:
        before = json.loads(begun)
    except ValueError:
        before = None
    now = json.loads(json.dumps(dict(arguments)))
    if before == now:
        return
    held = before if isinstance(before, dict) else {}
    differing = [
        f"{name} was {held.get(name)!r:.80}, is {now.get(name)!r:.80}"
        for name in sorted(held.keys() | now.keys())
        if held.get(name) != now.get(name)
    ]
    raise UsageError(
        f"{place} holds an unfinished set of other arguments: {'; '.join(differing)};"
        " go on with those, or choose another folder"
    )
