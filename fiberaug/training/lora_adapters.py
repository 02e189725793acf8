"""Adapters of a frozen network: two thin matrices beside each projection.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, equation 3; by
PEFT, which changes the projections in place and nothing else.
"""

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from fiberaug.errors import UsageError

__all__ = ["CONFIG", "WEIGHTS", "Adapters", "inject", "merged", "scaled"]

WEIGHTS, CONFIG = "pytorch_lora_weights.safetensors", "adapter_config.json"
"""As diffusers and PEFT call them."""

_NAME = "default"  # PEFT's own name of an adapter
_NAMED = 24


def inject(
    network: nn.Module, *, rank: int, scale: float, targets: Sequence[str], seed: int
) -> None:
    """Freeze a network and put adapters into it, which change nothing yet.

    Args:
        network: Changed in place.
        rank: Columns of an adapter.
        scale: What an adapter adds is multiplied by it.
        targets: Ends of the names of modules.
        seed: Of the first matrices.

    Raises:
        UsageError: PEFT is not installed, a target is no module of the network, or it
            cannot get an adapter.
    """
    try:
        import peft  # noqa: PLC0415  # not everybody has it
    except ImportError as error:
        raise UsageError(
            f'LoRA needs peft: pip install "fiberaug[diffusion]" ({error!s:.200})'
        ) from error
    _check_targets(network, targets)
    network.requires_grad_(requires_grad=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        try:
            peft.inject_adapter_in_model(
                peft.LoraConfig(
                    r=rank,
                    lora_alpha=scale * rank,  # type: ignore[arg-type]  # any number
                    target_modules=list(targets),
                ),
                network,
            )
        except ValueError as error:
            raise UsageError(
                f"targets={list(targets)} cannot get adapters: {error!s:.300}"
            ) from error
    for name, weight in network.named_parameters():
        if _is_adapter(name):  # of a network in bfloat16 they would be, too
            weight.data = weight.data.float()


def _check_targets(network: nn.Module, targets: Sequence[str]) -> None:
    """Refuse targets that are no modules, and name those that there are."""
    names = [name for name, _ in network.named_modules()]
    missing = [
        target
        for target in targets
        if not any(name == target or name.endswith(f".{target}") for name in names)
    ]
    if missing:
        ends = sorted({
            _end(name)
            for name, one in network.named_modules()
            if isinstance(one, nn.Linear | nn.Conv2d)
        })  # fmt: skip
        shown = ", ".join(ends[:_NAMED]) + (", ..." if len(ends) > _NAMED else "")
        raise UsageError(
            f"targets: {', '.join(missing)} is no module of {type(network).__name__};"
            f" there are {shown}"
        )


def _end(name: str) -> str:
    """Return the last part of a name that is no number, with what follows it."""
    parts = name.split(".")
    return ".".join(parts[-2:] if parts[-1].isdigit() else parts[-1:])


def _is_adapter(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name


class Adapters(nn.Module):
    """The adapters of a network and nothing else, as a module: what is trained.

    Its weights are those of the network, not copies.

    Args:
        network: One that :func:`inject` changed.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        for name, weight in network.named_parameters():
            if _is_adapter(name):
                short = name.replace(f".{_NAME}.weight", "")
                self.register_parameter(short.replace(".", "__"), weight)

    def named(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield weights with their names in the network, without PEFT's own."""
        for name, weight in self.named_parameters():
            yield f"{name.replace('__', '.')}.weight", weight

    @contextmanager
    def holding(self, others: nn.Module) -> Iterator[None]:
        """Let the network have other values for a while, such as averaged ones.

        Args:
            others: A copy of these adapters.
        """
        mine = list(self.parameters())
        kept = [one.detach().clone() for one in mine]
        with torch.no_grad():
            for one, other in zip(mine, others.parameters(), strict=True):
                one.copy_(other)
        try:
            yield
        finally:
            with torch.no_grad():
                for one, before in zip(mine, kept, strict=True):
                    one.copy_(before)

    def write(self, folder: Path, *, prefix: str, scale: float) -> None:
        """Write them as diffusers and PEFT read them.

        The scale is multiplied into the second matrices, so that the file means the
        same to programs that read no configuration.

        Args:
            folder: It is there.
            prefix: Of the names: what diffusers calls the network, with a dot.
            scale: What an adapter adds is multiplied by it.
        """
        held = {}
        for name, weight in self.named():
            value = weight.detach().float().cpu().contiguous().clone()
            if scale != 1 and ".lora_B." in name:
                value *= scale
            held[prefix + name] = value
        save_file(held, folder / WEIGHTS, metadata={"format": "pt"})
        firsts = [one for name, one in held.items() if ".lora_A." in name]
        names = {name.partition(".lora_")[0] for name in held}
        told = {
            "peft_type": "LORA", "r": len(firsts[0]), "lora_alpha": len(firsts[0]),
            "target_modules": sorted({_end(name) for name in names}),
            "lora_dropout": 0.0, "bias": "none",
        }  # fmt: skip
        text = json.dumps(told, indent=1)
        (folder / CONFIG).write_text(text + "\n", encoding="utf-8")


@contextmanager
def scaled(network: nn.Module, factor: float) -> Iterator[None]:
    """Let adapters add so many times as much for a while; 0: nothing.

    Args:
        network: One that :func:`inject` changed.
        factor: >= 0.
    """
    layers = list(_layers(network))
    kept = [one.scaling[_NAME] for one in layers]
    for one, before in zip(layers, kept, strict=True):
        one.scaling[_NAME] = before * factor
    try:
        yield
    finally:
        for one, before in zip(layers, kept, strict=True):
            one.scaling[_NAME] = before


def merged(network: nn.Module) -> nn.Module:
    """Return a copy of a network in which adapters are added to the weights.

    Args:
        network: One that :func:`inject` changed; it stays as it is.
    """
    made = copy.deepcopy(network)
    for name, layer in [*made.named_modules()]:
        if hasattr(layer, "scaling") and hasattr(layer, "get_base_layer"):
            layer.merge()
            owner, _, last = name.rpartition(".")
            setattr(made.get_submodule(owner), last, layer.get_base_layer())
    return made.requires_grad_(requires_grad=True)


def _layers(network: nn.Module) -> Iterator[Any]:
    for one in network.modules():
        if hasattr(one, "scaling") and hasattr(one, "get_base_layer"):
            yield one
