"""A GAN as the loop trains it: networks, optimisers, averaged weights."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fiberaug.errors import StateMismatch
from fiberaug.synthetic.gans import GANGenerator
from fiberaug.training.averaging import Average
from fiberaug.training.contracts import RealBatch
from fiberaug.training.drawing import Augmenter, generator_of
from fiberaug.training.gan_options import GANOptions
from fiberaug.training.levers import Levers, following
from fiberaug.training.memory import is_out_of_memory
from fiberaug.training.networks import Network
from fiberaug.training.ranking import Ranks
from fiberaug.training.recomputing import recompute
from fiberaug.training.stepping import GANStep, Share

__all__ = ["GANTask"]

_NETWORKS = ("generator", "critic")


class GANTask:
    """A generator and a critic in training.

    Args:
        generator: Latents to images, on its device.
        critic: Images to logits.
        options: How they are trained.
        latent: Shape of one latent.
        photos: Real photos there are, from which the share of augmentation follows.
        total: Images that are shown in all.
        levers: What makes a step need less memory.
        ranks: The processes that train.
        save: Writes the averaged generator into a folder; (module, folder, notes).
    """

    kind = "gan"

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        options: GANOptions,
        *,
        latent: tuple[int, ...],
        photos: int,
        total: int,
        levers: Levers,
        ranks: Ranks,
        save: Callable[[nn.Module, Path, Mapping[str, Any]], None],
    ) -> None:
        self.options, self.total, self.ranks = options, total, ranks
        self.generator = Network(generator, "generator")
        self.critic = Network(critic, "critic")
        ranks.same_([*generator.state_dict().values(), *critic.state_dict().values()])
        self.average = Average(generator, half_life=options.half_life)
        self.augmenter = Augmenter(options.augment, options.share_of(photos))
        self.stepper = GANStep(
            self.generator, self.critic, options.made, latent=latent,
            augmenter=self.augmenter, seed=options.seed, levers=levers,
        )  # fmt: skip
        self.optimisers = {
            name: torch.optim.Adam(
                self.modules()[name].parameters(), foreach=True, eps=1e-8
            )
            for name in _NETWORKS
        }
        self.slowed = 1.0
        """Factor of the learning rates, halved when weights stopped being finite."""

        self._save, self._half_done = save, -1
        self._figures: dict[str, torch.Tensor] = {}
        self._recomputed: list[Any] = []
        self.levers = levers

    @property
    def levers(self) -> Levers:
        """What makes a step need less memory."""
        return self.stepper.levers

    @levers.setter
    def levers(self, levers: Levers) -> None:
        self.stepper.levers = levers
        if levers.recompute and not self._recomputed:
            self._recomputed = [recompute(one) for one in self.modules().values()]
        elif not levers.recompute and self._recomputed:
            for one in self._recomputed:
                one.undo()
            self._recomputed = []

    def relieve(self, rows: int) -> str | None:
        """Take the next lever and return what it is; None: there is none left.

        Args:
            rows: Of this process in a step.
        """
        found = following(self.levers, rows)
        if found is None:
            return None
        self.levers, said = found
        return said

    def slow_down(self, times: int) -> None:
        """Halve the learning rates so many times, counted from the begin of the run."""
        self.slowed = 0.5**times

    def modules(self) -> dict[str, nn.Module]:
        """Return the networks by name."""
        return {"generator": self.generator.module, "critic": self.critic.module}

    def step(self, batch: RealBatch, *, step: int, nimg: int) -> dict[str, float]:
        """Make a step of both networks and return figures by name.

        Called again after an error of memory it goes on with the half that failed.
        """
        figures = self.advance(batch, step=step, nimg=nimg)
        values = torch.stack([one.float() for one in figures.values()])
        self.ranks.sum_([values])
        found = dict(zip(figures, values.tolist(), strict=True))
        gamma = self._gamma(batch, nimg)
        return found | {"lr": self._lr("generator", nimg), "gamma": gamma}

    def _gamma(self, batch: RealBatch, nimg: int) -> float:
        height, width = batch.images.shape[2:]
        rows = self.ranks.world * len(batch.images)
        return self.options.gamma_at(nimg, self.total, pixels=height * width, rows=rows)

    def advance(
        self, batch: RealBatch, *, step: int, nimg: int
    ) -> dict[str, torch.Tensor]:
        """Make a step and return its figures where they are; no value is read."""
        rows = len(batch.images)
        share = Share(self.ranks.rank * rows, self.ranks.world * rows)
        gamma = self._gamma(batch, nimg)
        with _own_randomness(self.options.seed, step, self.ranks.rank):
            if self._half_done != step:
                self._figures = self._half(
                    "critic",
                    lambda: self.stepper.critic_half(
                        batch, step=step, share=share, gamma=gamma
                    ),
                    nimg,
                )
                self._clip()
                self._half_done = step
            if (step + 1) % self.options.steps_of_critic == 0:
                self._figures |= self._half(
                    "generator",
                    lambda: self.stepper.generator_half(batch, step=step, share=share),
                    nimg,
                )
                every = share.total * self.options.steps_of_critic
                self.average.update(
                    self.generator.module, images=every, nimg=nimg + share.total
                )
        return self._figures

    def _half(
        self, name: str, gradients: Callable[[], dict[str, torch.Tensor]], nimg: int
    ) -> dict[str, torch.Tensor]:
        """Step one network on the gradient of all ranks."""
        module, optimiser = self.modules()[name], self.optimisers[name]
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
        for group in optimiser.param_groups:
            group["lr"] = self._lr(name, nimg)
            group["betas"] = self.options.betas_at(nimg, self.total)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return figures

    def _lr(self, name: str, nimg: int) -> float:
        of_critic = name == "critic"
        return self.slowed * self.options.lr_at(nimg, self.total, of_critic=of_critic)

    def _clip(self) -> None:
        bound = self.options.made.clip
        if bound is not None:
            with torch.no_grad():
                for one in self.critic.module.parameters():
                    one.clamp_(-bound, bound)

    def tensors(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return all tensors of its state, by file and by name."""
        found = {name: dict(one.state_dict()) for name, one in self.modules().items()}
        found["average"] = dict(self.average.module.state_dict())
        for name, optimiser in self.optimisers.items():
            found[f"adam_{name}"] = {
                f"{weight}/{what}": value
                for weight, one in self.modules()[name].named_parameters()
                for what, value in optimiser.state.get(one, {}).items()
            }
        return found

    def facts(self) -> dict[str, Any]:
        """Return the rest of its state, fit for JSON."""
        levers = asdict(self.levers)
        return {
            "kind": self.kind, "loss": self.options.loss, "slowed": self.slowed,
            "levers": levers,
        }  # fmt: skip

    def restore(
        self,
        tensors: Mapping[str, Mapping[str, torch.Tensor]],
        facts: Mapping[str, Any],
    ) -> None:
        """Go on from a state.

        Raises:
            StateMismatch: It is of other networks or of another loss.
        """
        for name, mine in (("kind", self.kind), ("loss", self.options.loss)):
            if facts.get(name) != mine:
                raise StateMismatch(
                    f"the state is of {name} {facts.get(name)!r}, this training of"
                    f" {mine!r}; go on as it was begun, or take another folder"
                )
        kept = {**self.modules(), "average": self.average.module}
        for name, module in kept.items():
            _same_tensors(name, module.state_dict(), tensors.get(name, {}))
        for name, module in kept.items():
            module.load_state_dict(tensors[name])
        for name, optimiser in self.optimisers.items():
            optimiser.state.clear()
            weights = dict(self.modules()[name].named_parameters())
            for key, value in tensors.get(f"adam_{name}", {}).items():
                weight, _, what = key.rpartition("/")
                one = weights[weight]
                moved = value if what == "step" else value.to(one.device)
                optimiser.state[one][what] = moved
        self.slowed = float(facts["slowed"])
        self.levers = self.levers.with_those_of(Levers(**facts["levers"]))
        self._half_done = -1

    def sample(
        self,
        seeds: Sequence[int],
        labels: Sequence[int],
        places: NDArray[np.float32] | None = None,
    ) -> NDArray[np.uint8]:
        """Return images of the averaged weights, uint8 [N, H, W, C]."""
        made = GANGenerator(self.average.module, latent=self.stepper.latent)
        where = places if self.generator.placed else None
        return made.generate(seeds, labels, places=where)

    def save_generator(self, folder: Path, notes: Mapping[str, Any]) -> None:
        """Write what :func:`fiberaug.load` opens into an empty folder."""
        self._save(self.average.module, folder, notes)

    def finite(self) -> bool:
        """Return whether all weights are finite."""
        norms = torch._foreach_norm(  # noqa: SLF001  # one answer for all of them
            [
                one.detach()
                for module in (*self.modules().values(), self.average.module)
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
def _own_randomness(seed: int, step: int, rank: int) -> Iterator[None]:
    """Let networks that draw by themselves, such as Dropout, draw from the step."""
    used = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = [torch.cuda.current_device()] if used else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(generator_of(seed, step, f"rank {rank}").initial_seed())
        yield
