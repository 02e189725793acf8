"""The notes of a training in a file: levers that were taken, warnings, its end."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from fiberaug.errors import StoreError

__all__ = ["Notes"]


class Notes:
    """Sentences as lines of JSON, each one once: ``{"step", "nimg", "note"}``.

    What a training that goes on says again is already there.

    Args:
        path: The file; it is made with the first note.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = path.read_text("utf-8", "replace") if path.exists() else ""
        self._torn = bool(text) and not text.endswith("\n")
        self._known = set(_sentences(text))

    def add(self, notes: Sequence[str], *, step: int, nimg: int) -> None:
        """Add those that are not there yet.

        Args:
            notes: Sentences.
            step: Steps made so far.
            nimg: Images shown so far.

        Raises:
            StoreError: The file cannot be written.
        """
        new = [note for note in dict.fromkeys(notes) if note not in self._known]
        if not new:
            return
        self._known.update(new)
        lines = [{"step": step, "nimg": nimg, "note": note} for note in new]
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write("\n" if self._torn else "")
                file.writelines(json.dumps(line) + "\n" for line in lines)
        except OSError as error:
            raise StoreError(
                f"cannot write {self.path}: {error.strerror or error}", stage="write"
            ) from error
        self._torn = False


def _sentences(text: str) -> Iterator[str]:
    """Yield the notes of those lines that are whole."""
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue  # a process was killed while it wrote
        if isinstance(found, dict) and isinstance(found.get("note"), str):
            yield found["note"]
