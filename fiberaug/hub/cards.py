"""The card of a repository: front matter for the Hub, and what people should know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from fiberaug.errors import DataRefused
from fiberaug.hub.scrubbing import without_paths
from fiberaug.shards.urls import redact
from fiberaug.sizes import counted, format_bytes

__all__ = ["CARD", "Facts", "cell", "check_card", "write_card"]

CARD = "README.md"
SYNTHETIC = "synthetic"
_MOST_ROWS = 60
_FENCE = "---"


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a card says."""

    title: str
    """First line."""

    about: str
    """One sentence."""

    front: Mapping[str, Any]
    """Front matter; what is None or empty is left out."""

    tables: Mapping[str, Sequence[tuple[str, Any]]] = field(default_factory=dict)
    """Rows of (what, value) by heading."""

    loading: str = ""
    """Python that opens it."""

    limits: Sequence[str] = ()
    """What it is not good for, one sentence each."""


def write_card(facts: Facts, sizes: Mapping[str, int]) -> str:
    """Return the content of README.md.

    Args:
        facts: What it says.
        sizes: Bytes of each file.
    """
    front = {
        name: one for name, one in facts.front.items() if one not in (None, "", [])
    }
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    parts = [
        f"{_FENCE}\n{head}{_FENCE}",
        f"# {cell(facts.title)}",
        facts.about,
    ]
    if facts.loading:
        parts.append(f"## How to load it\n\n```python\n{facts.loading}\n```")
    for heading, rows in facts.tables.items():
        if rows:
            parts.append(f"## {heading}\n\n{_table(rows)}")
    files = [(name, format_bytes(size)) for name, size in sizes.items()]
    total = format_bytes(sum(sizes.values()))
    parts.append(
        f"## Files\n\n{counted(len(files), 'file')}, {total}.\n\n{_table(files)}"
    )
    if facts.limits:
        lines = "\n".join(f"- {one}" for one in facts.limits)
        parts.append(f"## Limits\n\n{lines}")
    parts.append("This card was written by FiberAug (`fiberaug push`).")
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[tuple[str, Any]]) -> str:
    lines = ["| what | value |", "|---|---|"]
    lines += [f"| {cell(what)} | {cell(value)} |" for what, value in rows[:_MOST_ROWS]]
    if len(rows) > _MOST_ROWS:
        lines.append(f"| and | {len(rows) - _MOST_ROWS} more |")
    return "\n".join(lines)


def cell(value: Any) -> str:  # noqa: ANN401  # of JSON
    """Return a value as text: no Markdown, HTML, path of this machine, credentials."""
    if isinstance(value, float):
        value = f"{value:.4g}"
    elif isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    elif isinstance(value, Mapping):
        value = ", ".join(
            f"{name} {one}" for name, one in value.items() if one is not None
        )
    text = without_paths(redact(" ".join(str(value).split())[:400]))
    return "".join(f"\\{one}" if one in "|`*_[]<>#\\" else one for one in text)


def check_card(content: bytes, *, synthetic: bool) -> list[str]:
    """Check a README.md that the user wrote; return what could be better.

    Args:
        content: The file.
        synthetic: Whether what is sent makes, or is made of, generated images.

    Raises:
        DataRefused: The Hub would not read its front matter, or generated images would
            be sent without a word of it.
    """
    front = _front_matter(content)
    notes = []
    if front is None:
        raise DataRefused(
            f"{CARD} has no front matter, where the Hub finds the licence and tags:"
            f" begin it with lines such as {_FENCE}, license: mit, tags: [fiberaug],"
            f" {_FENCE}; or remove it, and a card is written"
        )
    tags = front.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(one, str) for one in tags):
        raise DataRefused(f"tags in the front matter of {CARD} must be a list of texts")
    if synthetic and SYNTHETIC not in tags:
        raise DataRefused(
            f"the front matter of {CARD} must have the tag {SYNTHETIC}: images that"
            " were generated are not sent without a mark"
        )
    if not front.get("license"):
        notes.append(f"{CARD} names no licence: nobody may use it")
    return notes


def _front_matter(content: bytes) -> dict[str, Any] | None:
    lines = content.decode("utf-8-sig").splitlines()
    if not lines or lines[0].strip() != _FENCE:
        return None
    ends = [i for i, line in enumerate(lines) if i and line.strip() == _FENCE]
    if not ends:
        return None
    try:
        said = yaml.safe_load("\n".join(lines[1 : ends[0]]))
    except yaml.YAMLError as error:
        why = " ".join(str(error).split())
        raise DataRefused(
            f"the front matter of {CARD} is no YAML: {why:.200}"
        ) from error
    if said is not None and not isinstance(said, dict):
        raise DataRefused(f"the front matter of {CARD} must be names with values")
    return said
