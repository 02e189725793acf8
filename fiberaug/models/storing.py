"""Weights on disk: safetensors and nothing else, written whole, read with suspicion."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from fiberaug.errors import DataRefused, StateMismatch, StoreError, UsageError
from fiberaug.files import write_atomically
from fiberaug.sizes import format_bytes

__all__ = ["load_weights", "save_network", "weights_sha256"]

_HEADER_EACH, _HEADER_BASE = 1024, 2**16  # bytes that names and shapes may take

Looks = tuple[str, tuple[int, ...]]


def save_network(folder: str | Path, name: str, module: nn.Module) -> str:
    """Write weights to ``<name>.safetensors`` of a folder; return their sha256.

    Args:
        folder: It is there.
        name: Of the file, without its ending.
        module: Its parameters and buffers are written, on any device.

    Raises:
        UsageError: The module has no weights.
        StoreError: The file cannot be written; what was there before still is.
    """
    content = _content(module)
    write_atomically(Path(folder) / f"{name}.safetensors", content)
    return hashlib.sha256(content).hexdigest()


def weights_sha256(module: nn.Module) -> str:
    """Return the sha256 of the file that :func:`save_network` would write.

    Raises:
        UsageError: The module has no weights.
    """
    return hashlib.sha256(_content(module)).hexdigest()


def load_weights(path: str | Path, module: nn.Module, *, sha256: str = "") -> None:
    """Fill a module with the weights of a file, which a stranger may have written.

    Nothing is allocated before names, shapes and types were found to be the module's. A
    module on the meta device gets tensors on the CPU.

    Args:
        path: A file of :func:`save_network`.
        module: Its weights are replaced.
        sha256: Of the file, where it is known.

    Raises:
        DataRefused: There is no such file, it is broken, far larger than such weights,
            not the one with this hash, or has values that are not finite.
        StateMismatch: It is of another architecture: the first difference is named.
        StoreError: It cannot be read.
    """
    file = Path(path)
    mine = module.state_dict()
    _check_file(file, mine, sha256)
    try:
        with safe_open(file, framework="pt", device="cpu") as opened:
            theirs = {name: _looks(opened.get_slice(name)) for name in opened.keys()}  # noqa: SIM118  # no mapping
            _check_same(file, mine, theirs)
            # clone: the file is mapped, and may be changed or cut while we run
            found = {name: opened.get_tensor(name).clone() for name in theirs}
    except SafetensorError as error:
        raise DataRefused(f"{file} is no sound safetensors file: {error}") from error
    except OSError as error:
        raise StoreError(f"cannot read {file}: {error.strerror or error}") from error
    for name, tensor in found.items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise DataRefused(f"{file} has values in {name} that are not finite")
    on_meta = any(one.is_meta for one in mine.values())
    module.load_state_dict(found, assign=on_meta)


def _content(module: nn.Module) -> bytes:
    # clone: safetensors refuses tensors that share memory
    tensors = {
        name: one.detach().cpu().contiguous().clone()
        for name, one in module.state_dict().items()
    }
    if not tensors:
        raise UsageError(f"{type(module).__name__} has no weights to be saved")
    return save(tensors)


def _check_file(file: Path, mine: Mapping[str, torch.Tensor], sha256: str) -> None:
    if not file.is_file():
        raise DataRefused(f"{file} is missing: it holds the weights")
    weights = sum(one.numel() * one.element_size() for one in mine.values())
    most = weights + _HEADER_BASE + _HEADER_EACH * len(mine)
    try:
        size = file.stat().st_size
        if size > most:
            raise DataRefused(
                f"{file} has {format_bytes(size)}; such weights have"
                f" {format_bytes(weights)}"
            )
        if sha256:
            with file.open("rb") as content:
                found = hashlib.file_digest(content, "sha256").hexdigest()
            if found != sha256:
                raise DataRefused(
                    f"{file} was changed: its sha256 is {found:.12}..., and"
                    f" {sha256:.12}... is on record"
                )
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"cannot read {file}: {error.strerror}") from error


def _looks(piece: object) -> Looks:
    return piece.get_dtype(), tuple(piece.get_shape())  # type: ignore[attr-defined]  # a class of Rust's


def _check_same(
    file: Path, mine: Mapping[str, torch.Tensor], theirs: Mapping[str, Looks]
) -> None:
    """Refuse weights of another architecture, by the first that differs."""
    for name in [*mine, *sorted(theirs)]:
        here = _looks_of(mine[name]) if name in mine else None
        there = theirs.get(name)
        if here != there:
            raise StateMismatch(
                f"{file} is of another architecture: {name[:80]} is {_told(there)}"
                f" there and {_told(here)} in {len(mine)} weights here"
            )


_TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16",
    torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32",
    torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def _looks_of(tensor: torch.Tensor) -> Looks:
    return _TYPES.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape)


def _told(looks: Looks | None) -> str:
    return "nothing" if looks is None else f"{looks[0]} {list(looks[1])}"
