"""The package has no way to run what data says: shown from its syntax trees."""

import ast
import json
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import fiberaug

PACKAGE = Path(fiberaug.__file__).parent
NAMES = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    "pickle": {"load", "loads", "Unpickler"},
    "cPickle": {"load", "loads", "Unpickler"},
    "dill": {"load", "loads"},
    "joblib": {"load"},
    "cloudpickle": {"load", "loads"},
    "marshal": {"load", "loads"},
    "shelve": {"open"},
    "torch": {"load"},
    "numpy": {"load"},
    "yaml": {"load", "full_load", "unsafe_load", "load_all", "unsafe_load_all"},
    "os": {"system", "popen", "execv", "execve", "execvp", "spawnv", "startfile"},
    "subprocess": {"run", "Popen", "call", "check_call", "check_output", "getoutput"},
    "importlib": {"import_module"},
    "runpy": {"run_path", "run_module"},
    "ctypes": {"CDLL", "cdll"},
    "albumentations": {"from_dict", "load"},
}
RISKY = {f"{module}.{name}" for module, names in ATTRIBUTES.items() for name in names}
KEYWORDS = {"shell", "allow_pickle", "trust_remote_code"}
ALLOWED = {
    "allocator.py": {"ctypes.CDLL": "this process itself: its C library's allocator"},
    "transport.py": {
        "pickle.loads": "exceptions that our own workers send through torch's pipe",
    },
    "recipe.py": {"importlib.import_module": "a constant name: fiberaug.evaluating"},
    "__init__.py": {"importlib.import_module": "a public name from a closed table"},
    "benching/stages.py": {"pickle.loads": "a message that this process has just made"},
    "augment/environment.py": {"importlib.import_module": "a constant name: numpy"},
    "augment/spec.py": {
        "albumentations.from_dict": "pipelines of the user's own runs and programs",
    },
    "models/extras.py": {"importlib.import_module": "a constant name: diffusers"},
    "cli/audit.py": {"importlib.import_module": "what the user wrote: --import"},
    "editing/__init__.py": {
        "importlib.import_module": "a public name from a closed table"
    },
    "evaluate/__init__.py": {
        "importlib.import_module": "a public name from a closed table"
    },
    "synthetic/loading.py": {
        "importlib.import_module": "what the user wrote: a generator as"
        " module:function; or a name from a closed table: _SHIPPED"
    },
    "cli/replay.py": {"importlib.import_module": "what the user wrote: --import"},
    "demo/train.py": {"torch.load": "weights_only=True, for the demo's own tensors"},
    "foldering/unit.py": {
        "pickle.loads": "the job's own Setup, from its own process's argument list"
    },
    "jobs/restarting.py": {
        "subprocess.run": "jpegtran on PATH, a list of words that no data is in"
    },
    "jobs/sources/finding.py": {
        "importlib.import_module": "a name from a closed table: KINDS"
    },
    "gpu/building.py": {
        "importlib.import_module": "constant names: of ours, of Kornia"
    },
    "gpu/spec.py": {"importlib.import_module": "a constant name: kornia.augmentation"},
    "jobs/sources/array_files.py": {"numpy.load": "a .npy with allow_pickle=False"},
    "jobs/sources/coco_masks.py": {
        "importlib.import_module": "a constant name: pycocotools.mask",
    },
    "jobs/sources/table_cells.py": {
        "importlib.import_module": "a constant name: pyarrow.parquet",
    },
    "jobs/sources/yolo_description.py": {
        "yaml.load": "BaseLoader: text, lists and mappings, no objects",
    },
    "models/__init__.py": {
        "importlib.import_module": "a public name from a closed table"
    },
    "parity/theirs.py": {
        "importlib.import_module": "the user's own loader: --against module:function",
    },
    "pretrained/__init__.py": {
        "importlib.import_module": "a public name from a closed table"
    },
    "shards/buckets.py": {"importlib.import_module": "a name from a closed table"},
    "shards/pipes.py": {
        "subprocess.Popen": "a list of words, no shell, only with allow_pipe=True",
    },
    "training/__init__.py": {
        "importlib.import_module": "a public name from a closed table"
    },
    "transforms.py": {"importlib.import_module": "a name from a closed table"},
}


def renamed_in(tree):
    """Return what local names stand for, where they are imported under others."""
    found = {}
    for node in ast.walk(tree):
        for alias in getattr(node, "names", ()) if is_import(node) else ():
            module = getattr(node, "module", None)
            if module and alias.name in ATTRIBUTES.get(module, ()):
                found[alias.asname or alias.name] = f"{module}.{alias.name}"
            elif not module and alias.asname:
                found[alias.asname] = alias.name
    return found


def is_import(node):
    return isinstance(node, ast.Import | ast.ImportFrom)


def risky(tree):
    """Return what could run code: names, attributes and arguments of calls."""
    renamed = renamed_in(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            name = renamed.get(node.id, node.id)
            found += [name] if name in NAMES or ("." in name and name in RISKY) else []
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = renamed.get(node.value.id, node.value.id)
            name = f"{module}.{node.attr}"
            found += [name] if name in RISKY else []
        elif isinstance(node, ast.keyword) and node.arg in KEYWORDS:
            safe = isinstance(node.value, ast.Constant) and node.value.value is False
            found += [] if safe else [f"{node.arg}="]
    return found


def found_in(package):
    found = {}
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        what = set(risky(ast.parse(path.read_text(encoding="utf-8"))))
        found |= {name: what} if what else {}
    return found


def test_code_that_could_run_data_stands_where_the_list_says_and_why():
    said = {name: set(reasons) for name, reasons in ALLOWED.items()}
    surplus = {
        name: left
        for name, what in found_in(PACKAGE).items()
        if (left := what - said.get(name, set()))
    }

    assert surplus == {}
    assert all(
        len(why) > 10 for reasons in ALLOWED.values() for why in reasons.values()
    )


def test_every_exception_of_the_list_is_needed():
    found = found_in(PACKAGE)
    for name, reasons in ALLOWED.items():
        assert set(reasons) <= found.get(name, set()), name


@pytest.mark.parametrize(
    "line",
    ["import pickle; pickle.loads(b)", "from pickle import loads; loads(b)",
     "import pickle as p; p.load(f)", "eval(text)", "exec(text)",
     "from os import system as s; s('x')", "import torch; torch.load(f)",
     "import subprocess as sp; sp.run(['x'])", "run('x', shell=True)",
     "import numpy as np; np.load(f)", "yaml.load(t)", "load(trust_remote_code=True)",
     "np.load(f, allow_pickle=flag)", "read = pickle.loads"],
)  # fmt: skip
def test_the_search_finds_each_way_to_run_data(line):
    assert risky(ast.parse(line))


def test_every_load_of_torch_names_weights_only():
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
                said = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert said.get("weights_only") == "True", path


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


LOAD = """
    import pickle, sys
    from pathlib import Path
    import torch
    from fiberaug.demo.train import Training
    folder = Path(sys.argv[1])
    training = Training.__new__(Training)
    try:
        training.load(folder)
    except pickle.UnpicklingError as error:
        print("refused")
"""


@pytest.mark.timeout(60)
def test_the_demos_checkpoint_runs_nothing_whatever_the_environment_says(tmp_path):
    """The variable turns torch's protection off where nobody asks for it by name."""
    marker = tmp_path / "executed"
    content = pickle.dumps({"network": Bomb(marker), "moments": {}}, protocol=2)
    (tmp_path / "checkpoint.pt").write_bytes(content)
    (tmp_path / "checkpoint.json").write_text(json.dumps({"step": 0, "loader": {}}))
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LOAD), str(tmp_path)],
        env=os.environ | {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"},
        capture_output=True, text=True, check=True, timeout=50,
    )  # fmt: skip

    assert process.stdout == "refused\n"
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists(), "the payload was a real one"


MODELS = {"diffusers", "transformers", "peft", "safetensors", "huggingface_hub"}
WANTED = {
    "shards": {"huggingface_hub"},
    "hub": {"huggingface_hub"},
    "integrations": {"transformers"},
    "models": {"safetensors"},
    # folders that were looked at; the Hub's cache; adapters as tensors
    "pretrained": {"diffusers", "huggingface_hub", "safetensors", "transformers"},
    "training": {"peft", "safetensors"},  # adapters are put into a network by PEFT
}
"""Files of shards from the Hub; Trainer, which is handed our loader; weights of our own
networks, which are tensors and nothing else."""


LOADER = "pretrained/folders.py"
SAFELY = {"use_safetensors": True, "trust_remote_code": False, "local_files_only": True}


def test_a_pretrained_model_is_loaded_in_one_place_safely():
    tree = ast.parse((PACKAGE / LOADER).read_text(encoding="utf-8"))
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", None) == "from_pretrained"
    ]
    assert len(calls) == 1
    said = {
        one.arg: one.value.value
        for one in calls[0].keywords
        if isinstance(one.value, ast.Constant)
    }
    assert said.items() >= SAFELY.items()


def test_no_code_loads_a_model_from_elsewhere():
    """Weights come from folders of our own formats; no library runs what it finds."""
    for path in sorted(PACKAGE.rglob("*.py")):
        floor = path.relative_to(PACKAGE).parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if path.relative_to(PACKAGE).as_posix() != LOADER:
                assert getattr(node, "attr", None) != "from_pretrained", path
            names = [
                alias.name
                for alias in getattr(node, "names", ())  # those of a nonlocal are text
                if isinstance(alias, ast.alias)
            ]
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif not isinstance(node, ast.Import):
                continue
            roots = {name.partition(".")[0] for name in names}
            assert not roots & (MODELS - WANTED.get(floor, set())), path
