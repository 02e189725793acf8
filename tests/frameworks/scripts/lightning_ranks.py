"""Lightning starts a second rank of this script; each writes down what it trains on."""

import json
import os
import signal
import sys
import warnings
from pathlib import Path

import lightning
import torch
from launching import rows
from lightning.pytorch.callbacks import ModelCheckpoint

import fiberaug


class AfterValidation(ModelCheckpoint):
    """Lightning takes several callbacks of a kind only under different keys."""

    state_key = "after validation"


class Module(lightning.LightningModule):
    """Counts what it sees; ``die`` is (epoch, batch) before which rank 1 is killed."""

    def __init__(self, folder, die=None):
        super().__init__()
        self.layer, self.folder, self.die = torch.nn.Linear(3, 2), folder, die

    def note(self, kind, number, batch):
        line = [kind, self.current_epoch, number, rows(batch)]
        with Path(self.folder, f"rank-{self.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def training_step(self, batch, number):
        if (self.current_epoch, number) == self.die and self.global_rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        self.note("train", number, batch)
        return self.layer(batch["image"].float().mean((2, 3))).square().mean()

    def validation_step(self, batch, number):
        if not self.trainer.sanity_checking:
            self.note("val", number, batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)


def fit(shards, folder, workers, *, die=None, checkpoint=None, saves=None, epochs=3):
    """Train; ``saves`` is the folder of the checkpoints that are kept."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    train = fiberaug.DataLoader(
        fiberaug.StreamingDataset(shards),
        4,
        num_workers=workers,
        persistent_workers=workers > 0,
    )
    val = fiberaug.DataLoader(fiberaug.StreamingDataset(shards, train=False), 8)
    callbacks = []
    if saves:
        for kind, name, options in (
            (ModelCheckpoint, "step", {"every_n_train_steps": 2}),
            (ModelCheckpoint, "epoch", {"save_on_train_epoch_end": True}),
            (AfterValidation, "val", {"save_on_train_epoch_end": False}),
        ):
            file = name + "-{epoch}-{step}"
            callbacks.append(kind(saves, file, save_top_k=-1, **options))
    trainer = lightning.Trainer(
        accelerator="cpu",
        strategy="ddp",
        devices=2,
        max_epochs=epochs,
        callbacks=callbacks,
        enable_checkpointing=bool(saves),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(Module(str(folder), die), train, val, ckpt_path=checkpoint)
    train.close()
    val.close()


def main(what, shards, folder, workers):
    warnings.simplefilter("ignore")
    workers = int(workers)
    if what == "killed":
        fit(shards, f"{folder}/killed", workers, die=(1, 3), saves=f"{folder}/saves")
    else:
        fit(shards, f"{folder}/unbroken", workers)
        for path in sorted(Path(folder, "saves").glob("*.ckpt")):
            fit(shards, f"{folder}/{path.stem}", workers, checkpoint=str(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
