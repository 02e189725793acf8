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
from mutants import LAWS, MUTANTS, Mutant

import fiberaug

PACKAGE = Path(fiberaug.__file__).parent
TESTS = Path(__file__).parent
ASSERTION = re.compile(r"assert |AssertionError|Failed: DID NOT RAISE")

HERE = """
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings

import fiberaug

settings.register_profile(
    "unshrunk",
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unshrunk")

if Path(fiberaug.__file__).parents[1] != Path(__file__).parent:
    raise SystemExit(f"the copy is not what was imported, but {fiberaug.__file__}")
"""


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
    for law in LAWS:
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
def runs(request, tmp_path_factory):
    """Return the runs of the chosen mutants, two at a time in the background."""
    laws = sorted({mutant.law for mutant in MUTANTS})
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    chosen = [call.params.get("mutant") for call in calls if call is not None]
    with ThreadPoolExecutor(2) as pool:
        yield {
            mutant.name: pool.submit(
                run, tmp_path_factory.mktemp("mutant"), mutant, [mutant.law]
            )
            for mutant in MUTANTS
            if mutant in chosen
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
