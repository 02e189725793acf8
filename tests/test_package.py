"""Laws about the package as a whole: its names, its imports, its files."""

import ast
import importlib
import importlib.metadata
import io
import pkgutil
import re
import statistics
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import fiberaug

PACKAGE = Path(fiberaug.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("albumentations", "cv2", "kornia", "torch", "typer", "webdataset")

IMPORT = """
import socket, sys

def refuse(*args, **kwargs):
    raise AssertionError("import fiberaug opened a socket")

socket.socket = socket.create_connection = socket.getaddrinfo = refuse
import fiberaug
sys.exit(" ".join(sorted(set({heavy!r}) & sys.modules.keys())) or 0)
"""


@pytest.fixture(scope="module")
def modules() -> dict[str, ModuleType]:
    """The package and every module in it, imported."""
    names = [
        module.name
        for module in pkgutil.walk_packages(fiberaug.__path__, "fiberaug.")
        if not module.name.endswith(".__main__")  # importing it runs the program
    ]
    return {name: importlib.import_module(name) for name in ["fiberaug", *names]}


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def comments(path: Path) -> Iterator[tuple[int, str]]:
    source = io.StringIO(path.read_text(encoding="utf-8"))
    for token in tokenize.generate_tokens(source.readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def imported(path: Path) -> Iterator[str]:
    """Yield the top-level name of each absolute import, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_the_public_names_are_sorted_and_unique():
    assert fiberaug.__all__ == sorted(set(fiberaug.__all__))


def test_every_public_name_resolves_after_every_module_was_imported(modules):
    """An import sets the submodule as an attribute: it must not hide a public name."""
    hidden = [
        f"{module.__name__}.{name}"
        for module in modules.values()
        for name in getattr(module, "__all__", ())
        if not hasattr(module, name) or isinstance(getattr(module, name), ModuleType)
    ]

    assert hidden == []


@pytest.mark.parametrize("name", ["convert", "replay"])
def test_a_verb_stays_callable_after_every_module_was_imported(modules, name):
    assert callable(getattr(modules["fiberaug"], name))


def test_no_module_is_named_like_a_public_name():
    names = {module.name for module in pkgutil.iter_modules(fiberaug.__path__)}

    assert names & set(fiberaug.__all__) == set()


def test_dir_shows_the_public_names():
    """Names that resolve lazily are still found by completion and by help()."""
    assert set(fiberaug.__all__) <= set(dir(fiberaug))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="StreemingDataset"):
        fiberaug.StreemingDataset  # noqa: B018  # the lookup is the test


def test_importing_does_nothing():
    """No heavy library, no socket, no word, no warning."""
    command = [sys.executable, "-W", "error", "-c", IMPORT.format(heavy=HEAVY)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_version_is_that_of_the_distribution():
    assert fiberaug.__version__ == importlib.metadata.version("fiberaug")


def test_the_types_are_published():
    assert (PACKAGE / "py.typed").is_file()


WITH_TORCH = {"triton"}
"""What torch's builds for GPUs bring along, and only they have a use for."""


def test_every_import_is_the_standard_library_or_a_declared_dependency():
    """What only the developers' tools bring would be missing on a user's machine."""
    requires = [
        (re.split(r"[^\w.-]", line, maxsplit=1)[0], line)
        for line in importlib.metadata.requires("fiberaug") or ()
    ]
    declared = {
        re.sub(r"[-_.]+", "-", name).lower()
        for name, line in requires
        if not re.search(r"extra == .(dev|bench)", line)
    }
    providers = importlib.metadata.packages_distributions()
    foreign = {
        f"{relative(path)}: {name}"
        for path in FILES
        for name in imported(path)
        if name not in {"fiberaug", *WITH_TORCH}
        and name not in sys.stdlib_module_names
        and not declared.intersection(
            re.sub(r"[-_.]+", "-", found).lower()
            for found in providers.get(name, [name])
        )
    }

    assert foreign == set()


def test_a_module_fits_in_the_head():
    """At most 400 lines each, and half of the modules at most 130."""
    lines = {
        relative(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in FILES
    }

    assert {name: n for name, n in lines.items() if n > 400} == {}
    assert statistics.median(lines.values()) <= 150


def test_every_silenced_finding_says_which_one_it_is():
    """A bare noqa or type: ignore also silences what comes later."""
    bare = [
        f"{relative(path)}:{line}: {text}"
        for path in FILES
        for line, text in comments(path)
        if re.search(r"\bnoqa\b(?!: ?[A-Z]+[0-9]+)", text, re.IGNORECASE)
        or re.search(r"\btype:\s*ignore(?!\[[a-z, -]+\])", text)
    ]

    assert bare == []
