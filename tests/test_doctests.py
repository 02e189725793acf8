"""Every example in a docstring gives what it says."""

import doctest
import importlib
import pkgutil

import pytest

import fiberaug

NAMES = [
    module.name
    for module in pkgutil.walk_packages(fiberaug.__path__, "fiberaug.")
    if not module.name.endswith(".__main__")  # importing it runs the program
]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_module_give_what_they_say(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # an example that writes leaves nothing behind
    result = doctest.testmod(importlib.import_module(name), raise_on_error=False)

    assert result.failed == 0


def test_the_heart_is_explained_by_examples():
    """The finder finds: without this line an empty walk would pass as well."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    explained = {
        name
        for name in ("fiberaug.order", "fiberaug.recipe", "fiberaug.sizes")
        for test in finder.find(importlib.import_module(name))
        if test.examples
    }

    assert explained == {"fiberaug.order", "fiberaug.recipe", "fiberaug.sizes"}
