"""Runs with a log, and logs with something wrong in them, for tests of audits."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import fiberaug
from fiberaug.auditing import Audit
from fiberaug.runlog_frames import pack_lines, read_lines

__all__ = ["edit", "lines_of", "make_run", "outside", "record", "write_log"]

Line = dict[str, Any]


def make_run(
    shards: str,
    folder: Path,
    transform: Any = None,
    *,
    epochs: int = 1,
    batch_size: int = 8,
    loader: dict[str, Any] | None = None,
    **dataset: Any,
) -> Path:
    """Run a loader over a set, with a log; give the run folder."""
    opened = fiberaug.StreamingDataset(shards, transform=transform, **dataset)
    with fiberaug.DataLoader(opened, batch_size, log=folder, **(loader or {})) as ours:
        for _ in range(epochs):
            for _batch in ours:
                pass
    return folder


def lines_of(folder: Path, rank: int = 0) -> list[Line]:
    """The lines of a log."""
    path = folder / f"records-{rank}.jsonl.zst"
    return [json.loads(text) for _, text in read_lines(path)]


def write_log(
    folder: Path, lines: Iterable[Line], rank: int = 0, size: int = 64
) -> None:
    """Write a log anew, a frame for every ``size`` lines."""
    texts = [json.dumps(line, separators=(",", ":")) + "\n" for line in lines]
    frames = [
        pack_lines("".join(texts[i : i + size])) for i in range(0, len(texts), size)
    ]
    (folder / f"records-{rank}.jsonl.zst").write_bytes(b"".join(frames))


def edit(folder: Path, change: Callable[[Line], Any], rank: int = 0) -> None:
    """Change the records of a log: what ``change`` returns stands instead.

    None: the record as it is now; a list: these records.
    """

    def changed() -> Iterator[Line]:
        for line in lines_of(folder, rank):
            made = change(line) if "v" in line else None
            yield from [line] if made is None else made

    write_log(folder, list(changed()), rank)


def outside(audit: Audit) -> list[str]:
    """Topics of what is outside of its bounds."""
    return [finding.topic for finding in audit.findings if finding.is_outside]


def record(position: int = 0, **values: Any) -> Line:
    """A record of nothing in particular, as plain values."""
    return fiberaug.Record(**{
        "key": f"k{position}", "url": "s.tar", "index": position, "uid": "0" * 16,
        "position": position, "visit": 0, "view": 0, "epoch": 0, "seed": 0,
        "origin": "real", "decode": {}, "applied_transforms": (),
        "batch": {"unit": position // 16, "row": position % 16, "partners": []},
        "recipe": "", "environment": "", "replayable": True, **values,
    }).to_dict()  # fmt: skip
