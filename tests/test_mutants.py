"""The laws are able to fail: each error planted in a copy of the package is found.

A mutant is the package with one text replaced. A quick law is run on it in a process of
its own and has to fail by an assertion; the same laws pass on an untouched copy.
"""

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import pytest

import fiberaug

PACKAGE = Path(fiberaug.__file__).parent
TESTS = Path(__file__).parent
ORDER, SEEDING = "tests/test_order.py", "tests/test_seeding.py"
LOADER = "tests/laws/test_loader_laws.py"
ASSERTION = re.compile(r"assert |AssertionError|Failed: DID NOT RAISE")

HERE = """
from pathlib import Path

import fiberaug

if Path(fiberaug.__file__).parents[1] != Path(__file__).parent:
    raise SystemExit(f"the copy is not what was imported, but {fiberaug.__file__}")
"""


class Mutant(NamedTuple):
    """One error in one file, and the law that has to find it."""

    name: str
    file: str
    text: str
    """Stands in the file exactly once."""

    error: str
    """Is planted instead."""

    law: str


MUTANTS = [
    Mutant(
        "the short unit is cut off its own lane",
        "order.py",
        "(short if lane > last else 0)",
        "(short if lane >= last else 0)",
        f"{ORDER}::test_lanes_are_cut_in_whole_units_and_the_lane_dealt_last_has_the_short_one",
    ),
    Mutant(
        "lanes start one unit late",
        "order.py",
        "min(lane, rest)",
        "min(lane, rest + 1)",
        f"{ORDER}::test_lanes_are_cut_in_whole_units_and_the_lane_dealt_last_has_the_short_one",
    ),
    Mutant(
        "units are dealt to one lane less",
        "order.py",
        "divmod(unit, len(self._starts) - 1)",
        "divmod(unit, max(1, len(self._starts) - 2))",
        f"{ORDER}::test_units_are_dealt_to_the_lanes_in_turn",
    ),
    Mutant(
        "windows are not even",
        "order.py",
        "width = -(-(high - low) // windows)",
        "width = plan.window",
        f"{ORDER}::test_windows_of_a_lane_are_even",
    ),
    Mutant(
        "every epoch shuffles the windows alike",
        "order.py",
        "_h64(_WINDOW, self._seed, self._epoch, lane, start)",
        "_h64(_WINDOW, self._seed, 0, lane, start)",
        f"{ORDER}::test_every_epoch_and_every_seed_shuffles_the_windows_anew",
    ),
    Mutant(
        "every epoch permutes the shards alike",
        "order.py",
        "_h64(_SHARDS, plan.seed, epoch, shard)",
        "_h64(_SHARDS, plan.seed, 0, shard)",
        f"{ORDER}::test_every_epoch_and_every_seed_permutes_the_shards_anew",
    ),
    Mutant(
        "rows of a rank are rounded down",
        "order.py",
        "rows = -(-(last - first) // world_size)",
        "rows = (last - first) // world_size",
        f"{ORDER}::test_every_rank_has_equal_rows_and_the_padding_fills_them_up",
    ),
    Mutant(
        "ranks are served in reverse",
        "order.py",
        "low = min(first + rank * rows, last)",
        "low = min(first + (world_size - 1 - rank) * rows, last)",
        f"{ORDER}::test_every_rank_has_equal_rows_and_the_padding_fills_them_up",
    ),
    Mutant(
        "batches are counted from 0 after a resume",
        "order.py",
        "first = start + k * global_batch",
        "first = start - start % global_batch + k * global_batch",
        f"{ORDER}::test_the_stream_is_the_same_for_any_ranks_workers_batch_size_and_resume",
    ),
    Mutant(
        "a second visit draws as the first",
        "seeding.py",
        "_WORDS.pack(seed, epoch, uid, visit, view)",
        "_WORDS.pack(seed, epoch, uid, 0, view)",
        f"{SEEDING}::test_a_change_of_any_argument_changes_the_key",
    ),
    Mutant(
        "a unit draws alike in every epoch",
        "seeding.py",
        "return key(seed, epoch, unit, 0, 0,",
        "return key(seed, 0, unit, 0, 0,",
        f"{SEEDING}::test_a_change_of_any_argument_changes_the_key_of_a_unit",
    ),
    Mutant(
        "half a drawn word is found by the next sample",
        "seeding.py",
        "self._bits.state = self._state",
        'self._bits.state = {**self._bits.state, "state": self._words}',
        f"{SEEDING}::test_a_key_gives_the_same_draws_whatever_was_drawn_before",
    ),
    Mutant(
        "half a gaussian pair is found by the next sample",
        "seeding.py",
        "self.python.gauss_next = None",
        "self.python.gauss_next  # type",
        f"{SEEDING}::test_a_key_gives_the_same_draws_whatever_was_drawn_before",
    ),
    Mutant(
        "our workers are told epoch 0",
        "loader.py",
        "self._requests(self._epoch, self._position)",
        "self._requests(0, self._position)",
        f"{LOADER}::test_every_epoch_reaches_the_workers[persistent-ours]",
    ),
    Mutant(
        "set_epoch does not reach torch's persistent workers",
        "passes.py",
        "words.share_memory_()",
        "words",
        f"{LOADER}::test_every_epoch_reaches_the_workers[persistent-plain]",
    ),
    Mutant(
        "a resumed pass repeats a batch",
        "loader.py",
        "self._position = message.end",
        "self._position = message.end - self._global_batch",
        f"{LOADER}::test_resumed_after_any_batch_the_rest_is_the_uninterrupted_rest[ours]",
    ),
    Mutant(
        "a resumed pass of torch's loader leaves a batch out",
        "passes.py",
        "first = start + k * size",
        "first = start + (k + (start > 0)) * size",
        f"{LOADER}::test_resumed_after_any_batch_the_rest_is_the_uninterrupted_rest[plain]",
    ),
    Mutant(
        "the position counts padding",
        "loader.py",
        "self._position = message.end",
        "self._position += len(message.keys) * self.world_size",
        f"{LOADER}::test_the_state_counts_samples_of_all_ranks_and_no_padding",
    ),
    Mutant(
        "the log counts padding",
        "loader.py",
        "for t, pad in zip(lines, pads, strict=True) if not pad)",
        "for t, pad in zip(lines, pads, strict=True))",
        f"{LOADER}::test_the_log_of_all_ranks_holds_every_position_once_and_no_padding",
    ),
    Mutant(
        "padding is not flagged",
        "transport.py",
        "engine.deliver(request.epoch, end - 1, pad=True)",
        "engine.deliver(request.epoch, end - 1, pad=False)",
        f"{LOADER}::test_ranks_joined_again_are_one_rank_and_padding_is_flagged",
    ),
]
UNTOUCHED = Mutant("untouched", "", "", "", "")


class Run(NamedTuple):
    """What the laws said of a copy of the package."""

    passed: int
    failures: list[str]
    errors: list[str]
    """Tests that could not be run at all."""

    output: str


def planted(folder, mutant):
    """Copy the package and the laws to ``folder``, with the error in its place."""
    shutil.copytree(
        PACKAGE, folder / "fiberaug", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(TESTS.parent / "pyproject.toml", folder)
    (folder / "tests/laws").mkdir(parents=True)
    shutil.copytree(TESTS / "golden", folder / "tests/golden")
    for law in (ORDER, SEEDING, LOADER):
        shutil.copy(TESTS.parent / law, folder / law)
    (folder / "imported_from_here.py").write_text(HERE)
    if mutant.file:
        path = folder / "fiberaug" / mutant.file
        source = path.read_text(encoding="utf-8")
        found = source.count(mutant.text)
        assert found == 1, f"{mutant.text!r} stands {found} times in {mutant.file}"
        path.write_text(source.replace(mutant.text, mutant.error), encoding="utf-8")


def run(folder, mutant, laws):
    """Return what the laws say of a mutant."""
    planted(folder, mutant)
    command = [sys.executable, "-m", "pytest", "-q", "--junit-xml=report.xml"]
    command += ["-p", "imported_from_here", "-p", "no:cacheprovider", *laws]
    alien = ("PYTEST_", "COV_", "COVERAGE_")
    own = {k: v for k, v in os.environ.items() if not k.startswith(alien)}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**own, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    report = folder / "report.xml"
    assert report.is_file(), done.stdout + done.stderr
    root = ET.parse(report).getroot()  # noqa: S314  # written by our own pytest
    cases = list(root.iter("testcase"))
    failures = [found.get("message", "") for found in root.iter("failure")]
    errors = [found.get("message", "") for found in root.iter("error")]
    assert not list(root.iter("skipped")), done.stdout
    passed = len(cases) - len(failures) - len(errors)
    return Run(passed, failures, errors, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the runs of all mutants, two at a time in the background."""
    laws = sorted({mutant.law for mutant in MUTANTS})
    with ThreadPoolExecutor(2) as pool:
        yield {
            mutant.name: pool.submit(
                run, tmp_path_factory.mktemp("mutant"), mutant, [mutant.law]
            )
            for mutant in MUTANTS
        } | {
            UNTOUCHED.name: pool.submit(
                run, tmp_path_factory.mktemp("untouched"), UNTOUCHED, laws
            )
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_error_is_found_by_its_law(runs, mutant):
    done = runs[mutant.name].result()

    assert done.errors == [], done.output
    assert done.failures, f"survived {mutant.law}\n{done.output}"
    assert all(ASSERTION.match(message) for message in done.failures), done.output


def test_the_same_laws_hold_for_an_untouched_copy(runs):
    done = runs[UNTOUCHED.name].result()

    assert (done.failures, done.errors) == ([], []), done.output
    assert done.passed == len({mutant.law for mutant in MUTANTS})
