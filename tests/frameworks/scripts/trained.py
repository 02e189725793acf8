"""A rank of a Hugging Face Trainer that is fed by our loaders."""

import faulthandler
import json
import os
import signal
import sys
import warnings
from pathlib import Path

import torch
from launching import rows
from transformers import Trainer, TrainingArguments

import fiberaug
from fiberaug.integrations.trainer import feed_trainer


class Model(torch.nn.Module):
    """Takes what image models of transformers take."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 4)

    def forward(self, pixel_values, labels=None):
        logits = self.layer(pixel_values.float().mean((2, 3)) / 255)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


class Noting(fiberaug.DataLoader):
    """Writes down the rows of each batch that the Trainer gets."""

    file = None
    die = None

    def __iter__(self):
        for number, batch in enumerate(super().__iter__()):
            if (self.epoch, number) == self.die:
                os.kill(os.getpid(), signal.SIGKILL)
            with Path(self.file).open("a") as file:
                file.write(json.dumps([self.epoch, rows(batch)]) + "\n")
            yield batch


def fit(shards, folder, name, workers, *, die=None, checkpoint=None, **options):
    """Train two epochs, saved after every update; return what evaluation has seen."""
    rank = os.environ.get("RANK", "0")
    train = Noting(fiberaug.StreamingDataset(shards), 4, num_workers=workers)
    train.file, train.die = f"{folder}/{name}-{rank}.jsonl", die
    evaluation = fiberaug.DataLoader(fiberaug.StreamingDataset(shards, train=False), 4)
    seen = {}
    torch.manual_seed(0)
    trainer = Trainer(
        Model(),
        TrainingArguments(
            f"{folder}/out",
            num_train_epochs=2,
            per_device_train_batch_size=4,
            per_device_eval_batch_size=4,
            gradient_accumulation_steps=options.pop("micro", 1),
            save_strategy="steps" if die else "no",
            save_steps=1,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            **options,
        ),
        compute_metrics=lambda p: seen.update(labels=p.label_ids.tolist()) or {},
    )
    feed_trainer(trainer, train, evaluation)
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.evaluate()
    weights = trainer.model.layer.weight.tolist()
    return {**seen, "updates": trainer.state.global_step, "weights": weights}


def main(what, shards, folder, workers):
    warnings.simplefilter("ignore")
    workers, found = int(workers), {}
    if what == "killed":
        die = (1, 3) if os.environ.get("RANK") == "1" else (9, 9)
        fit(shards, folder, "killed", workers, die=die)
    else:
        found["unbroken"] = fit(shards, folder, "unbroken", workers)
        for step in (2, 5, 6, 8):
            name = f"checkpoint-{step}"
            path = f"{folder}/out/{name}"
            found[name] = fit(shards, folder, name, workers, checkpoint=path)
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        os._exit(0)  # gloo's threads can abort the interpreter's own exit


if __name__ == "__main__":
    faulthandler.enable()
    main(*sys.argv[1:])
