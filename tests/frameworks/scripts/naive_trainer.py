"""A Hugging Face Trainer with our data set as its ``train_dataset``, as it comes."""

import json
import os
import sys
import warnings

import torch
from transformers import Trainer, TrainingArguments

import fiberaug


class Model(torch.nn.Module):
    """Notes the samples that it trains on; ``image`` holds the number of a sample."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = torch.nn.Linear(1, 1), []

    def forward(self, number, labels=None):
        self.seen.append(number.flatten().tolist())
        return {"loss": self.layer(number.float()).square().mean()}


def numbered(sample):
    """A field that the Trainer's own collator takes."""
    sample["number"] = torch.tensor([int(sample["__key__"][1:])])
    return sample


def main(shards, folder):
    warnings.simplefilter("ignore")
    found = {}
    whole = int(os.environ.get("WORLD_SIZE", "1")) == 1
    ways = {"0": (0, {}), "2": (2, {}), "split": (0, {"rank": 0, "world_size": 1})}
    for name, (workers, given) in ways.items():
        dataset = fiberaug.StreamingDataset(
            shards, batch_size=4, transform=numbered, record="none", **given
        )
        model = Model()
        arguments = TrainingArguments(
            f"{folder}/{name}",
            num_train_epochs=2 if whole else -1,
            max_steps=-1 if whole else 6,
            per_device_train_batch_size=4,
            dataloader_num_workers=workers,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        if not whole and not given:  # or rank 1 would only wait for rank 0
            arguments.accelerator_config.dispatch_batches = False
        trainer = Trainer(model, arguments, train_dataset=dataset)
        try:
            trainer.train()
            found[name] = model.seen
        except fiberaug.UsageError as error:
            found[name] = str(error)
    sys.stdout.write("\n" + json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
