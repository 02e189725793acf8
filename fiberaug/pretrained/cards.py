"""What a model card says of the licence of the weights."""

from pathlib import Path

import yaml

__all__ = ["licence_of"]

_MOST_BYTES = 64 * 1024
_MOST_TEXT = 200


def licence_of(folder: Path) -> str | None:
    """Return the licence that the model card of a folder states, or None.

    It is ``license:`` in the YAML at the head of ``README.md``. A card that cannot be
    read states nothing.
    """
    try:
        with (folder / "README.md").open("rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    if not text.startswith("---\n"):
        return None
    head, ends, _ = text[4:].partition("\n---")
    try:
        said = yaml.safe_load(head) if ends else None
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    found = said.get("license") if isinstance(said, dict) else None
    if found == "other" and isinstance(said, dict):
        found = said.get("license_name") or found
    return found[:_MOST_TEXT] if isinstance(found, str) and found else None
