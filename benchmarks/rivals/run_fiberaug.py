"""FiberAug: as installed, with OpenCV as its only decoder, seekable shards, fast."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import contract
import work

import fiberaug

SEEKABLE = "shards-seekable"


class _Loader:
    def __init__(self, loader: fiberaug.DataLoader) -> None:
        self._loader = loader

    def epoch(self) -> Iterator[Mapping[str, Any]]:
        yield from self._loader

    def close(self) -> None:
        self._loader.close()


def _open(job: contract.Job) -> contract.Loader:
    shards = job.converted(SEEKABLE) if job.form == "seekable" else job.input / "shards"
    if job.form == "seekable" and not (shards / "dataset.json").exists():
        raise contract.Absent("this release writes no seekable shards")
    if job.form == "opencv":
        os.environ["FIBERAUG_JPEG"] = "opencv"
    try:
        data = fiberaug.StreamingDataset(
            str(shards),
            transform=work.pipeline(job.work),
            decode="fast" if job.form == "fast" else "exact",
        )
        loader = fiberaug.DataLoader(
            data, job.batch, num_workers=job.workers, persistent_workers=True
        )
    except fiberaug.UsageError as error:
        raise contract.Absent(str(error)) from error
    return _Loader(loader)


def _prepare(job: contract.Job) -> None:
    target = job.converted(SEEKABLE)
    if job.form != "seekable" or (target / "dataset.json").exists():
        return
    command = [str(Path(sys.executable).with_name("fiberaug")), "convert"]
    command += [str(job.input / "shards"), str(target), "--from", "shards"]
    command += ["--shard-size", "12MB", "--keep-order", "--seekable"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise contract.Absent(f"fiberaug convert --seekable: {reason[-1]}")


if __name__ == "__main__":
    contract.main(_open, _prepare)
