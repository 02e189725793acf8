"""The run folder: records, quarantine and manifest of a training run.

``records-<rank>.jsonl.zst`` holds one JSON record a line, ``quarantine.jsonl`` one
broken sample a line, ``manifest.json`` what stands for the whole run once. What was
delivered before a process was killed can be read: every batch is flushed.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from fiberaug.engine import Failure
from fiberaug.errors import StoreError
from fiberaug.record import Record
from fiberaug.shards.manifest import write_atomically

__all__ = ["MANIFEST", "RecordLog", "read_manifest"]

MANIFEST = "manifest.json"
_LEVEL = 3
_FRAME_BYTES = 4 * 10**6


class RecordLog:
    """Writes and reads the records of a run.

    Args:
        folder: The run folder; made when the first record is written.
        rank: This process's rank; each writes a file of its own.

    >>> log = RecordLog("runs/none")
    >>> list(log)
    []
    """

    def __init__(self, folder: str | Path, *, rank: int = 0) -> None:
        self.folder = Path(folder)
        self.path = self.folder / f"records-{rank}.jsonl.zst"
        self._file: BinaryIO | None = None
        self._frame: zstandard.ZstdCompressionWriter | None = None
        self._frame_bytes = 0

    def start(self, manifest: Mapping[str, Any]) -> None:
        """Open the log and write the run's manifest.

        Raises:
            StoreError: The folder cannot be written.
        """
        self._open()
        text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
        write_atomically(self.folder / MANIFEST, text.encode())

    def _open(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _mend(self.path)
            self._file = self.path.open("ab")
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}") from error

    def write(self, records: Iterable[Record | str]) -> None:
        """Append records, or their JSON, and hand them to the operating system.

        Raises:
            StoreError: The disk is full or gone.
        """
        lines = (r if isinstance(r, str) else r.to_json() for r in records)
        self._append("".join(line + "\n" for line in lines))

    def attach(self, batch: Mapping[str, Any], loss: Any) -> None:  # noqa: ANN401
        """Append a loss for each sample of a batch.

        Args:
            batch: A batch of the loader.
            loss: Tensor, array or list [B]; padding rows are left out.
        """
        values = loss.tolist() if hasattr(loss, "tolist") else list(loss)
        pads = batch["is_pad"].tolist() if "is_pad" in batch else [False] * len(values)
        lines = [
            json.dumps(
                {"uid": r.uid, "epoch": r.epoch, "position": r.position, "loss": value}
            )
            for r, value, pad in zip(batch["record"], values, pads, strict=True)
            if not pad
        ]
        self._append("".join(line + "\n" for line in lines))

    def quarantine(self, failures: Iterable[Failure]) -> None:
        """Append broken samples to ``quarantine.jsonl``."""
        text = "".join(
            json.dumps({**f._asdict(), "uid": f"{f.uid:016x}"}) + "\n" for f in failures
        )
        if text:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "quarantine.jsonl").open("a", encoding="utf-8") as file:
                file.write(text)

    def _append(self, text: str) -> None:
        if self._file is None:
            self._open()
        data = text.encode()
        try:
            if self._frame is None:
                compressor = zstandard.ZstdCompressor(level=_LEVEL)
                assert self._file is not None  # noqa: S101  # start() opened it
                self._frame = compressor.stream_writer(self._file, closefd=False)
            self._frame.write(data)
            self._frame.flush(zstandard.FLUSH_BLOCK)
            self._file.flush()  # type: ignore[union-attr]
            self._frame_bytes += len(data)
            if self._frame_bytes > _FRAME_BYTES:
                self._end_frame()
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror}") from error

    def _end_frame(self) -> None:
        if self._frame is not None:
            self._frame.close()  # type: ignore[no-untyped-call]
            self._frame, self._frame_bytes = None, 0

    def close(self) -> None:
        """Finish the file."""
        self._end_frame()
        if self._file is not None:
            self._file.close()
            self._file = None

    def __iter__(self) -> Iterator[Record]:
        """Iterate over the records of all ranks, in the order of writing.

        A run that was resumed delivered some positions twice: both lines are there.
        """
        for path in sorted(self.folder.glob("records-*.jsonl.zst")):
            for line in _lines(path):
                data = json.loads(line)
                if "v" in data:
                    yield Record.from_dict(data)


def _lines(path: Path) -> Iterator[str]:
    """Yield whole lines; a tail that was cut by a kill is left out."""
    with path.open("rb") as file:
        text = b"".join(_blocks(file))
    yield from text[: text.rfind(b"\n") + 1].decode().splitlines()


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    while True:
        try:
            block = reader.read(2**16)
        except zstandard.ZstdError:
            return
        if not block:
            return
        yield block


def _mend(path: Path) -> None:
    """Close a frame that a kill left open, so that the file can be appended to."""
    if not path.exists():
        return
    data = path.read_bytes()
    at = 0
    while at < len(data):
        size = _frame_size(data[at:])
        if size is None:
            break
        at += size
    if at == len(data):
        return
    text = b"".join(_blocks(io.BytesIO(data[at:])))
    text = text[: text.rfind(b"\n") + 1]
    whole = data[:at] + (
        zstandard.ZstdCompressor(level=_LEVEL).compress(text) if text else b""
    )
    write_atomically(path, whole)


def _frame_size(data: bytes) -> int | None:
    decoder = zstandard.ZstdDecompressor().decompressobj()
    try:
        decoder.decompress(data)
    except zstandard.ZstdError:
        return None
    return len(data) - len(decoder.unused_data) if decoder.eof else None


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of a run.

    Raises:
        StoreError: The folder has none.
    """
    path = Path(folder) / MANIFEST
    try:
        return json.loads(path.read_bytes())  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{folder} is no run folder: cannot read {path.name}: {error}"
        ) from error
