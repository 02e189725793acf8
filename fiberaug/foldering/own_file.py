"""Operations from a file of the user's own, loaded because the user says so."""

import importlib.util
import sys
from pathlib import Path

from fiberaug.augment.processor import registered_processors
from fiberaug.errors import StoreError, UsageError
from fiberaug.recipe import Recipe

__all__ = ["check_known", "load_processors"]


def load_processors(path: str | Path) -> list[str]:
    """Return the names under which a recipe can ask for the operations of a file.

    The file is run, with all that this user may do. Its module has the file's name:
    ``my_ops.py`` that defines ``Speckle`` gives ``my_ops.Speckle``.

    Args:
        path: A ``.py`` file with subclasses of ``ImageProcessor`` or ``TextProcessor``.

    Raises:
        UsageError: It is no such file, its name is taken, it fails, or it defines none.
        StoreError: It is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise StoreError(f"{path} is no file")
    name = path.stem
    if path.suffix != ".py" or not name.isidentifier():
        raise UsageError(
            f"processors must be a .py file named like a module, got {path.name!r}"
        )
    known = sys.modules.get(name)
    if known is None:
        _run(name, path)
    elif not _is_of(known, path):
        raise UsageError(
            f"there is a module {name!r} already: give {path.name!r} another name"
        )
    found = [one for one in registered_processors() if one.startswith(f"{name}.")]
    if not found:
        raise UsageError(f"{path} defines no ImageProcessor and no TextProcessor")
    return sorted(found)


def _is_of(module: object, path: Path) -> bool:
    origin = getattr(module, "__file__", None)
    return origin is not None and Path(origin).resolve() == path.resolve()


def _run(name: str, path: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # pickle and inspect look there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UsageError(
            f"{path} cannot be loaded: {type(error).__name__}: {error}"
        ) from error


def check_known(recipe: Recipe) -> None:
    """Refuse a recipe that names an operation which nobody has loaded.

    Raises:
        UsageError: It does; with the remedy.
    """
    known = registered_processors()
    for operation in recipe.cpu:
        (name,) = operation
        if "." in name and name not in known:
            raise UsageError(
                f"the recipe names {name!r:.80}, an operation that is not FiberAug's:"
                ' processors="FILE.py" (--processors FILE.py) loads it from a file of'
                " yours, whose code is then run"
            )
