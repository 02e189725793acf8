"""A rank of Accelerate whose plain loader is read by the main process for all."""

import sys

from accelerate import Accelerator
from torch.utils.data import DataLoader as TorchLoader

import fiberaug

if __name__ == "__main__":
    accelerator = Accelerator(cpu=True)
    dataset = fiberaug.StreamingDataset(sys.argv[1])
    for batch in accelerator.prepare(TorchLoader(dataset, 4)):
        sys.stdout.write(str(batch["__key__"]))
