"""webdataset and torchvision v2 in a torch DataLoader, on uint8 tensors [3, H, W].

OpenCV decodes, which is what torchvision's own decoder costs; that one does not load
beside a torch without CUDA. Resampling is not antialiased, as with all other rivals.
"""

import contract
import cv2
import numpy as np
import torch
import torchside
import webdataset

torchside.load_torchvision()
from torchvision.transforms import v2  # noqa: E402  # torchvision is made loadable first

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _pipeline(kind: str) -> v2.Compose:
    jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
    blur = v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], p=0.5)  # 3 sigma
    heavy = [jitter, blur, v2.RandomGrayscale(p=0.2)] if kind == "heavy" else []
    return v2.Compose(
        [
            v2.RandomResizedCrop(224, antialias=False),
            v2.RandomHorizontalFlip(),
            *heavy,
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


def _open(job: contract.Job) -> contract.Loader:
    if job.work == "detection":
        raise contract.Absent("torchvision v2 has no box-safe crop")
    operations = _pipeline(job.work)

    def ready(sample: dict[str, bytes]) -> tuple[torch.Tensor, int]:
        data = np.frombuffer(sample["jpg"], np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
        image = operations(torch.from_numpy(image).permute(2, 0, 1))
        return image, int(sample["cls"])

    data = webdataset.WebDataset(
        job.shards, shardshuffle=100, empty_check=False, seed=0
    )
    return _Pairs(
        torch.utils.data.DataLoader(
            data.shuffle(1000).map(ready),
            batch_size=job.batch,
            num_workers=job.workers,
            persistent_workers=True,
            worker_init_fn=_one_thread,
        )
    )


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(0)


class _Pairs(torchside.TorchLoader):
    def epoch(self):  # as the class above
        for image, label in super().epoch():
            yield {"image": image, "label": label}


if __name__ == "__main__":
    contract.main(_open)
