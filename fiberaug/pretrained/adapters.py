"""LoRA and embeddings of new words put into a pretrained pipeline: safetensors only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from fiberaug.errors import DataRefused, LimitExceeded, SecurityRefused, UsageError
from fiberaug.pretrained.quiet import quiet

__all__ = ["Adapter", "find_adapter", "put_embeddings", "put_lora", "scales_of"]

_MOST_BYTES = 4 * 2**30
_MOST_KEYS = 100_000
_MOST_SCALE = 100.0
_ADAPTER = "fiberaug_{}"  # diffusers' name of each


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """A file of safetensors that changes a pipeline."""

    path: Path
    sha256: str
    keys: tuple[str, ...]
    """Names of its tensors."""


def find_adapter(given: str | Path) -> Adapter:
    """Return the file of an adapter, looked at.

    Args:
        given: A ``.safetensors`` file, or a folder that holds one.

    Raises:
        UsageError: There is none, or several.
        SecurityRefused: It is pickled.
        DataRefused: It is broken.
    """
    path = Path(given)
    if path.is_dir():
        found = sorted(path.glob("*.safetensors"))
        if len(found) != 1:
            names = ", ".join(one.name for one in found[:8]) or "none"
            pickled = any(path.glob("*.bin")) or any(path.glob("*.pt"))
            why = "; what is pickled is not read" if pickled and not found else ""
            raise UsageError(
                f"{path} must hold one .safetensors file, found {names}{why}"
            )
        path = found[0]
    if not path.is_file():
        raise UsageError(f"there is no adapter {str(given)!r}")
    if path.suffix != ".safetensors":
        raise SecurityRefused(
            f"{path} must be a .safetensors file: code could run where another kind is"
            " read"
        )
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise LimitExceeded(f"{path} has {size} bytes, the limit is {_MOST_BYTES}")
    try:
        with safe_open(path, "pt") as file:
            keys = tuple(file.keys())
    except SafetensorError as error:
        raise DataRefused(f"{path} is no safetensors: {error!s:.200}") from error
    if not 1 <= len(keys) <= _MOST_KEYS:
        raise DataRefused(f"{path} holds {len(keys)} tensors, not 1 to {_MOST_KEYS}")
    digest = sha256()
    with path.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    return Adapter(path=path, sha256=digest.hexdigest(), keys=keys)


def scales_of(given: object, count: int) -> tuple[float, ...]:
    """Return a scale for each adapter.

    Args:
        given: One for all, or one for each; each -100 to 100.
        count: Adapters.

    Raises:
        UsageError: It is neither.
    """
    several = isinstance(given, Sequence) and not isinstance(given, str)
    found: list[Any] = list(given) if several else [given] * count  # type: ignore[call-overload]
    sound = all(
        isinstance(one, int | float) and type(one) is not bool and abs(one) <= 100
        for one in found
    )
    if len(found) != count or not sound:
        raise UsageError(
            f"lora_scale must be a number from {-_MOST_SCALE:g} to {_MOST_SCALE:g}, or"
            f" one for each of {count} adapters, got {given!r:.80}"
        )
    return tuple(float(one) for one in found)


def put_lora(
    pipeline: Any,  # noqa: ANN401  # of diffusers
    adapters: Sequence[Adapter],
    scales: Sequence[float],
) -> None:
    """Load adapters into a pipeline, each with its scale.

    Raises:
        DataRefused: One is of another model, or no LoRA.
        UsageError: peft is not installed.
    """
    names = [_ADAPTER.format(i) for i in range(len(adapters))]
    with quiet(), torch.random.fork_rng(devices=[]):
        for name, adapter in zip(names, adapters, strict=True):
            _load(pipeline, name, adapter)
        if names:
            pipeline.set_adapters(names, list(scales))


def _load(pipeline: Any, name: str, adapter: Adapter) -> None:  # noqa: ANN401
    try:
        pipeline.load_lora_weights(
            str(adapter.path.parent), weight_name=adapter.path.name,
            adapter_name=name, use_safetensors=True, local_files_only=True,
        )  # fmt: skip
    except ImportError as error:
        raise UsageError(
            f'lora= needs peft: pip install "fiberaug[diffusion]" ({error!s:.200})'
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # of diffusers, peft, torch: any
        reason = str(error).strip().partition("\n")[0]
        raise DataRefused(
            f"{adapter.path} does not fit this model: {type(error).__name__}:"
            f" {reason:.300}"
        ) from error
    # diffusers says nothing where no tensor of the file has a place in the model
    if not any(name in found for found in pipeline.get_list_adapters().values()):
        raise DataRefused(
            f"{adapter.path} is no LoRA of this model: its tensors, such as"
            f" {adapter.keys[0]!r:.120}, have no place in it"
        )


def put_embeddings(
    pipeline: Any,  # noqa: ANN401  # of diffusers
    given: Mapping[str, str | Path] | Sequence[str | Path],
) -> dict[str, str]:
    """Load embeddings of new words, and return the SHA-256 of each by its token.

    Args:
        pipeline: Its tokenizer and text encoder get the words.
        given: Files or folders, by token; or a list of such, whose files name their
            token.

    Raises:
        UsageError: There is no such file, or the token is there already.
        DataRefused: It is of another model, or names no token.
    """
    by_name = isinstance(given, Mapping)
    pairs = list(given.items()) if by_name else [(None, one) for one in given]  # type: ignore[union-attr]
    found: dict[str, str] = {}
    width = int(pipeline.text_encoder.get_input_embeddings().weight.shape[1])
    for token, path in pairs:
        adapter = find_adapter(path)
        word, vectors = _embedding(adapter, token)
        if vectors.ndim > 2 or vectors.shape[-1] != width:
            raise DataRefused(
                f"{adapter.path} has vectors {list(vectors.shape)}, and words of this"
                f" model are vectors of {width}"
            )
        if word in pipeline.tokenizer.get_vocab():
            raise UsageError(
                f"the token {word!r:.80} is there already: give it another name,"
                " embeddings={'<name>': file}"
            )
        with quiet(), torch.random.fork_rng(devices=[]):
            pipeline.load_textual_inversion({word: vectors}, token=word)
        if word not in pipeline.tokenizer.get_vocab():
            raise DataRefused(f"the token {word!r:.80} of {adapter.path} was not taken")
        found[word] = adapter.sha256
    return found


def _embedding(adapter: Adapter, token: str | None) -> tuple[str, torch.Tensor]:
    if len(adapter.keys) != 1:
        raise DataRefused(
            f"{adapter.path} holds {len(adapter.keys)} tensors, and an embedding is one"
        )
    (key,) = adapter.keys
    with safe_open(adapter.path, "pt") as file:
        vectors: torch.Tensor = file.get_tensor(key)
    named = None if key == "emb_params" else key
    word = token or named or f"<{adapter.path.stem}>"
    if not word or len(word) > 128 or any(one.isspace() for one in word):
        raise DataRefused(f"{adapter.path} names its token {word!r:.80}")
    return word, vectors
