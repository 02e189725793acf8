"""A folder of a pretrained model looked at, before diffusers sees it.

diffusers and transformers follow what a folder says: names of classes, of modules, of
code beside the weights, of weights elsewhere. Here a closed table says what may be
named, and what else a folder could be made to run is refused by name.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from fiberaug.errors import DataRefused, LimitExceeded, SecurityRefused, StoreError
from fiberaug.files import read_json_object
from fiberaug.pretrained.places import link_root

__all__ = ["INDEX", "Inspected", "inspect_model", "inspect_pipeline", "read_json"]

INDEX = "model_index.json"

_SD = "StableDiffusion"
_TABLE: Mapping[str, frozenset[tuple[str, str]]] = {
    "vae": frozenset({("diffusers", "AutoencoderKL")}),
    "text_encoder": frozenset({("transformers", "CLIPTextModel")}),
    "tokenizer": frozenset(
        {("transformers", "CLIPTokenizer"), ("transformers", "CLIPTokenizerFast")}
    ),
    "unet": frozenset({("diffusers", "UNet2DConditionModel")}),
    "scheduler": frozenset(
        ("diffusers", f"{name}Scheduler")
        for name in (
            "DDIM", "DDPM", "PNDM", "LCM", "EulerDiscrete", "EulerAncestralDiscrete",
            "DPMSolverMultistep", "UniPCMultistep", "LMSDiscrete", "HeunDiscrete",
            "DEISMultistep", "TCD",
        )
    ),
    "safety_checker": frozenset({("stable_diffusion", f"{_SD}SafetyChecker")}),
    "feature_extractor": frozenset(
        ("transformers", f"CLIP{name}")
        for name in ("ImageProcessor", "ImageProcessorPil", "FeatureExtractor")
    ),
    "image_encoder": frozenset(),
}  # fmt: skip
_REQUIRED = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")
_PIPELINES = frozenset(
    f"{_SD}{name}Pipeline"
    for name in (
        "", "Img2Img", "Inpaint", "ControlNet", "ControlNetImg2Img",
        "ControlNetInpaint",
    )
)  # fmt: skip
_LEADING = frozenset(
    {
        "auto_map", "custom_pipeline", "custom_pipelines", "custom_revision",
        "trust_remote_code", "attn_implementation", "_attn_implementation",
        "_attn_implementation_internal", "use_kernels", "kernel_config",
        "quantization_config", "compression_config", "base_model_name_or_path",
        "pretrained_model_name_or_path_or_dict",
    }
)  # fmt: skip
"""Keys that lead to code, or to weights elsewhere."""

_FORBIDDEN_FILES = frozenset({"adapter_config.json"})  # transformers would follow it
_CODE = frozenset({".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".sh", ".ipynb"})
_PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
_ENTRIES = 4096
_JSON_BYTES = 2**20  # of a config
_TOKENS_BYTES = 32 * 2**20  # of a tokenizer's tables
_WEIGHTS_BYTES = 64 * 2**30
_LARGEST = 10_000_000  # of a number in a config; vocabularies have 49,408
_DEEPEST = 512  # of layers
_LAYERS = ("num_hidden_layers", "layers_per_block", "transformer_layers_per_block")


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """A folder that was looked at."""

    folder: Path
    index: Mapping[str, Any]
    """What ``model_index.json`` says, or ``config.json`` of a single model."""

    files: tuple[Path, ...]
    """Files that are read, sorted by their path in the folder."""

    def sha256(self) -> str:
        """Return one hash of the names and contents of the files that are read.

        Raises:
            StoreError: One cannot be read.
        """
        whole = sha256()
        for path in self.files:
            whole.update(path.relative_to(self.folder).as_posix().encode() + b"\0")
            whole.update(_digest(path))
        return whole.hexdigest()


def inspect_pipeline(folder: Path, *, safety: bool = False) -> Inspected:
    """Return a folder of a pipeline in which nothing could run.

    Args:
        folder: With ``model_index.json``.
        safety: Whether its safety checker is read, too.

    Raises:
        DataRefused: It is none that is known, or it lacks a component.
        SecurityRefused: It brings code, names code, has weights only pickled, or a link
            leads out of it.
        LimitExceeded: A file or a number in it is too large.
        StoreError: It cannot be read.
    """
    _check_tree(folder)
    index = read_json(folder / INDEX)
    _check_keys(index, folder / INDEX)
    named = index.get("_class_name")
    if named not in _PIPELINES:
        raise SecurityRefused(
            f"{folder / INDEX} is of the pipeline {named!r:.120}; known are"
            f" {', '.join(sorted(_PIPELINES))}"
        )
    used = []
    for name, said in index.items():
        if not isinstance(said, list):
            continue
        if said == [None, None]:
            continue
        _check_component(folder, name, said)
        if safety or name not in ("safety_checker", "feature_extractor"):
            used.append(name)
    missing = [name for name in _REQUIRED if name not in used]
    if missing:
        raise DataRefused(f"{folder / INDEX} names no {', '.join(missing)}")
    files = [folder / INDEX]
    for name in used:
        weighty = name not in ("tokenizer", "scheduler", "feature_extractor")
        files += _component_files(folder / name, weights=weighty)
    return Inspected(folder=folder, index=index, files=tuple(sorted(files)))


def inspect_model(folder: Path, kind: str) -> Inspected:
    """Return a folder of one model, such as a ControlNet.

    Args:
        folder: With ``config.json``.
        kind: The class of diffusers that it must be of.

    Raises:
        DataRefused: See :func:`inspect_pipeline`.
        StoreError: It cannot be read.
    """
    _check_tree(folder)
    config = read_json(folder / "config.json")
    if config.get("_class_name") != kind:
        raise SecurityRefused(
            f"{folder / 'config.json'} is of {config.get('_class_name')!r:.120}, and a"
            f" {kind} is asked for"
        )
    files = _component_files(folder, weights=True)
    return Inspected(folder=folder, index=config, files=tuple(sorted(files)))


def read_json(path: Path, most: int = _JSON_BYTES) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        DataRefused: There is none, or it is broken or too large.
        StoreError: It cannot be read.
    """
    try:
        return read_json_object(path, most)
    except FileNotFoundError:
        raise DataRefused(
            f"{path.parent} holds no model of diffusers: there is no {path.name}"
        ) from None


def _walk(folder: Path) -> Iterator[Path]:
    try:
        for root, folders, names in os.walk(folder, onerror=_raise):
            yield from (Path(root, name) for name in (*folders, *names))
    except OSError as error:
        raise StoreError(f"cannot read {folder}: {error.strerror}") from error


def _raise(error: OSError) -> None:
    raise error


def _check_tree(folder: Path) -> None:
    """Refuse what no model needs, wherever it is in the folder."""
    roots = link_root(folder)
    for count, path in enumerate(_walk(folder)):
        if count >= _ENTRIES:
            raise LimitExceeded(f"{folder} has more than {_ENTRIES} files")
        real = path.resolve()
        if not any(real.is_relative_to(root) for root in roots):
            raise SecurityRefused(
                f"{path} is a link that leads out of the folder: copy the file to its"
                " place"
            )
        if path.suffix.lower() in _CODE:
            raise SecurityRefused(
                f"{path} is code, and a model is weights and configs: take it away if"
                " the model does not need it"
            )
        if path.name in _FORBIDDEN_FILES:
            raise SecurityRefused(
                f"{path} leads to weights elsewhere; give adapters by lora="
            )
        if not path.is_dir() and not path.is_file():
            raise SecurityRefused(f"{path} is no regular file")


def _check_component(folder: Path, name: str, said: list[Any]) -> None:
    if len(said) != 2 or tuple(said) not in _TABLE.get(name, frozenset()):
        known = sorted({kind for _, kind in _TABLE.get(name, ())})
        raise SecurityRefused(
            f"{folder / INDEX} takes {name!r:.80} from {said!r:.160}; known are"
            f" {', '.join(known) or 'none'}"
        )
    if not (folder / name).is_dir():
        raise DataRefused(f"{folder} has no folder {name}")
    for path in (folder / name).glob("*.json"):
        if path.name not in ("config.json", "scheduler_config.json"):
            continue
        kind = read_json(path).get("_class_name", said[1])
        # a scheduler's config can be of the class that it was made from
        allowed = {one for _, one in _TABLE[name]}
        if kind not in allowed:
            raise SecurityRefused(f"{path} is of the class {kind!r:.120}, not {said}")


def _component_files(folder: Path, *, weights: bool) -> list[Path]:
    """Return the files of a component, each within its bounds."""
    found, tensors, pickled = [], [], []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            continue
        size = path.stat().st_size
        if path.suffix == ".json":
            _check_config(path)
            found.append(path)
        elif path.suffix == ".txt":
            if size > _TOKENS_BYTES:
                raise LimitExceeded(f"{path} is larger than {_TOKENS_BYTES} bytes")
            found.append(path)
        elif path.suffix == ".safetensors":
            if size > _WEIGHTS_BYTES:
                raise LimitExceeded(f"{path} is larger than {_WEIGHTS_BYTES} bytes")
            tensors.append(path)
        elif path.suffix.lower() in _PICKLED:
            pickled.append(path)
    # a variant such as model.fp16.safetensors is not what is read
    plain = [path for path in tensors if path.name.count(".") == 1]
    if weights and not plain:
        why = f"only {pickled[0].name}, which is pickled: " if pickled else "none: "
        raise SecurityRefused(
            f"{folder} must have its weights as safetensors, and has {why}code could"
            " run where it is read. Convert it in an environment that may be lost, with"
            " save_pretrained(..., safe_serialization=True)"
        )
    return found + plain


def _check_config(path: Path) -> None:
    tokens = path.name not in ("config.json", "scheduler_config.json")
    said = read_json(path, _TOKENS_BYTES if tokens else _JSON_BYTES)
    if path.name in ("tokenizer.json", "vocab.json"):
        return  # tables of words, which may be any
    if path.name.endswith(".index.json"):
        _check_parts(said.get("weight_map"), path)
        return
    _check_keys(said, path)


def _check_parts(parts: Any, path: Path) -> None:  # noqa: ANN401  # JSON
    """Refuse a list of the parts of weights that names anything but files beside it."""
    names = set(parts.values()) if isinstance(parts, dict) else {None}
    if not all(
        isinstance(name, str)
        and name.endswith(".safetensors")
        and Path(name).name == name
        and (path.parent / name).is_file()
        for name in names
    ):
        raise SecurityRefused(
            f"{path} must name files of safetensors beside it as the parts of the"
            f" weights, got {sorted(map(str, names))!s:.160}"
        )


def _check_keys(said: Any, path: Path, depth: int = 0) -> None:  # noqa: ANN401  # JSON
    """Refuse keys that lead elsewhere, and numbers that no model has."""
    if depth > 16:
        raise LimitExceeded(f"{path} is deeper than 16")
    if isinstance(said, list):
        for one in said:
            _check_keys(one, path, depth + 1)
    elif isinstance(said, dict):
        for key, value in said.items():
            if key in _LEADING and value is not None:
                raise SecurityRefused(
                    f"{path} says {key!r}: {value!r:.120}, which leads to code or to"
                    " weights elsewhere"
                )
            if key in _LAYERS and _most(value) > _DEEPEST:
                raise LimitExceeded(f"{path} asks for {key} {value!r:.80}")
            _check_keys(value, path, depth + 1)
    elif isinstance(said, int | float) and abs(said) > _LARGEST and said < 1e29:
        raise LimitExceeded(f"{path} has the number {said!r:.80}")


def _most(value: Any) -> float:  # noqa: ANN401  # JSON
    if isinstance(value, list):
        return max((_most(one) for one in value), default=0)
    return float(value) if isinstance(value, int | float) else 0.0


def _digest(path: Path) -> bytes:
    found = sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(2**20):
                found.update(block)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error
    return found.digest()
