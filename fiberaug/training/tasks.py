"""What tasks have in common: networks, their optimisers, averaged weights, a state."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fiberaug.errors import StateMismatch
from fiberaug.training.averaging import Average
from fiberaug.training.contracts import RealBatch
from fiberaug.training.drawing import generator_of
from fiberaug.training.levers import Levers, following
from fiberaug.training.memory import is_out_of_memory
from fiberaug.training.ranking import Ranks
from fiberaug.training.recomputing import recompute

__all__ = ["NetworksTask", "own_randomness"]

Save = Callable[[nn.Module, Path, Mapping[str, Any]], None]


class NetworksTask(ABC):
    """Networks in training.

    Args:
        networks: By name, on their device.
        averaged: Which of them is averaged, sampled from and saved.
        half_life: Images after which a weight counts half in the average.
        seed: Of everything drawn.
        levers: What makes a step need less memory.
        ranks: The processes that train.
        save: Writes the averaged network into a folder; (module, folder, notes).
        same: What must be as it was for a state to go on, by name.
    """

    kind: str = ""
    sample_cost: float = 0.12
    penalised: bool = False
    """Whether the loss has penalties, which can be taken by finite differences."""

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        *,
        averaged: str,
        half_life: float,
        seed: int,
        levers: Levers,
        ranks: Ranks,
        save: Save,
        same: Mapping[str, str] | None = None,
    ) -> None:
        self._networks, self.seed, self.ranks = dict(networks), seed, ranks
        ranks.same_([
            one for module in networks.values() for one in module.state_dict().values()
        ])  # fmt: skip
        self.average = Average(networks[averaged], half_life=half_life)
        self.optimisers = {
            name: torch.optim.Adam(one.parameters(), foreach=True, eps=1e-8)
            for name, one in networks.items()
        }
        self.slowed = 1.0
        """Factor of the learning rates, halved when weights stopped being finite."""

        self._save, self._same = save, {"kind": self.kind, **(same or {})}
        self._recomputed: list[Any] = []
        self.levers = levers

    @property
    def levers(self) -> Levers:
        """What makes a step need less memory."""
        return self._levers

    @levers.setter
    def levers(self, levers: Levers) -> None:
        self._levers = levers
        if levers.recompute and not self._recomputed:
            self._recomputed = [recompute(one) for one in self.computed()]
        elif not levers.recompute and self._recomputed:
            for one in self._recomputed:
                one.undo()
            self._recomputed = []

    def computed(self) -> Iterable[nn.Module]:
        """Return the networks that a step runs, whose blocks can compute again."""
        return self._networks.values()

    def relieve(self, rows: int) -> str | None:
        """Take the next lever and return what it is; None: there is none left.

        Args:
            rows: Of this process in a step.
        """
        found = following(self.levers, rows, penalised=self.penalised)
        if found is None:
            return None
        self.levers, said = found
        return said

    def slow_down(self, times: int) -> None:
        """Halve the learning rates so many times, counted from the begin of the run."""
        self.slowed = 0.5**times

    @abstractmethod
    def step(self, batch: RealBatch, *, step: int, nimg: int) -> dict[str, float]:
        """Make one step; see :class:`fiberaug.training.contracts.Task`."""

    @abstractmethod
    def sample(
        self,
        seeds: Sequence[int],
        labels: Sequence[int],
        places: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Return images; see :class:`fiberaug.training.contracts.Task`."""

    def modules(self) -> dict[str, nn.Module]:
        """Return the networks by name."""
        return dict(self._networks)

    def told(self, figures: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """Return figures of all ranks, which are sums over rows, as numbers."""
        values = torch.stack([one.float() for one in figures.values()])
        self.ranks.sum_([values])
        return dict(zip(figures, values.tolist(), strict=True))

    def stepped(
        self,
        name: str,
        gradients: Callable[[], dict[str, torch.Tensor]],
        *,
        lr: float,
        betas: tuple[float, float],
        longest: float | None = None,
    ) -> dict[str, torch.Tensor]:
        """Step one network on the gradient of all ranks and return what is told of it.

        Args:
            name: Of the network.
            gradients: Adds this process's gradient to its weights; returns figures.
            lr: Learning rate.
            betas: Adam's.
            longest: Most norm of the gradient; None: any.

        Raises:
            MemoryError: A rank has no memory left; no weight was changed.
        """
        module, optimiser = self._networks[name], self.optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        figures: dict[str, torch.Tensor] = {}
        failed = ""
        try:
            figures = gradients()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            # its text alone: an error that a variable of its own frames holds keeps
            # all tensors of these frames
            failed = str(error) or type(error).__name__
        if self.ranks.any(bool(failed)):
            optimiser.zero_grad(set_to_none=True)
            raise MemoryError(failed or "another rank has no memory left")
        self.ranks.sum_(one.grad for one in module.parameters())
        if longest is not None:
            nn.utils.clip_grad_norm_(module.parameters(), longest)
        for group in optimiser.param_groups:
            group["lr"], group["betas"] = lr * self.slowed, betas
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return figures

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return all tensors of its state, by file and by name."""
        found = {name: dict(one.state_dict()) for name, one in self._networks.items()}
        found["average"] = dict(self.average.module.state_dict())
        for name, optimiser in self.optimisers.items():
            found[f"adam_{name}"] = {
                f"{weight}/{what}": value
                for weight, one in self._networks[name].named_parameters()
                for what, value in optimiser.state.get(one, {}).items()
            }
        return found

    def facts(self) -> dict[str, Any]:
        """Return the rest of its state, fit for JSON."""
        return {**self._same, "slowed": self.slowed, "levers": asdict(self.levers)}

    def restore(
        self,
        tensors: Mapping[str, Mapping[str, torch.Tensor]],
        facts: Mapping[str, Any],
    ) -> None:
        """Go on from a state.

        Raises:
            StateMismatch: It is of other networks or of another loss.
        """
        for name, mine in self._same.items():
            if facts.get(name) != mine:
                raise StateMismatch(
                    f"the state is of {name} {facts.get(name)!r}, this training of"
                    f" {mine!r}; go on as it was begun, or take another folder"
                )
        kept = {**self._networks, "average": self.average.module}
        for name, module in kept.items():
            _same_tensors(name, module.state_dict(), tensors.get(name, {}))
        for name, module in kept.items():
            module.load_state_dict(tensors[name])
        for name, optimiser in self.optimisers.items():
            optimiser.state.clear()
            weights = dict(self._networks[name].named_parameters())
            for key, value in tensors.get(f"adam_{name}", {}).items():
                weight, _, what = key.rpartition("/")
                one = weights[weight]
                moved = value if what == "step" else value.to(one.device)
                optimiser.state[one][what] = moved
        self.slowed = float(facts["slowed"])
        self.levers = self.levers.with_those_of(Levers(**facts["levers"]))

    def save_generator(self, folder: Path, notes: Mapping[str, Any]) -> None:
        """Write what :func:`fiberaug.load` opens into an empty folder."""
        self._save(self.average.module, folder, notes)

    def finite(self) -> bool:
        """Return whether all weights are finite."""
        norms = torch._foreach_norm(  # noqa: SLF001  # one answer for all of them
            [
                one.detach()
                for module in (*self._networks.values(), self.average.module)
                for one in module.parameters()
            ],
            float("inf"),
        )
        return bool(torch.stack([one.float() for one in norms]).isfinite().all())


def _same_tensors(
    name: str, mine: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor]
) -> None:
    """Refuse tensors of another network, by the first that differs."""
    for tensor in [*mine, *theirs]:
        here, there = mine.get(tensor), theirs.get(tensor)
        if here is None or there is None or here.shape != there.shape:
            told = [
                "nothing" if one is None else str(list(one.shape))
                for one in (here, there)
            ]
            raise StateMismatch(
                f"the state is of another {name}: {tensor} is {told[1]} there and"
                f" {told[0]} here; go on with the networks it was begun with, or take"
                " another folder"
            )


@contextmanager
def own_randomness(seed: int, step: int, rank: int) -> Iterator[None]:
    """Let networks that draw by themselves, such as Dropout, draw from the step."""
    used = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = [torch.cuda.current_device()] if used else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(generator_of(seed, step, f"rank {rank}").initial_seed())
        yield
