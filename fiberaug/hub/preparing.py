"""A folder made ready to be sent: found out, checked, cleaned, with its card."""

from pathlib import Path

from fiberaug.errors import DataRefused, StoreError
from fiberaug.hub.cards import CARD, Facts, check_card, write_card
from fiberaug.hub.data_facts import pool_facts, set_facts
from fiberaug.hub.facts import adapter_facts, model_facts
from fiberaug.hub.listing import list_files
from fiberaug.hub.looking import check_content
from fiberaug.hub.options import Item, Parcel
from fiberaug.hub.scrubbing import scrub, scrub_lines
from fiberaug.hub.soundness import check_sound
from fiberaug.hub.subject import Subject, find_subject

__all__ = ["prepare"]

_FACTS = {
    "model": model_facts,
    "lora": adapter_facts,
    "pool": pool_facts,
    "dataset": set_facts,
}
_CLEANED = {".json": scrub, ".jsonl": scrub_lines}
_VOCABULARIES = frozenset({"vocab.json", "tokenizer.json", "added_tokens.json"})
_MOST_FILES = 25_000  # in one commit of the Hub


def prepare(
    folder: str | Path,
    name: str,
    *,
    licence: str | None = None,
    token: str | None = None,
    progress: bool = True,
) -> Parcel:
    """Return what of a folder is sent, with its card; nothing is written.

    Args:
        folder: See :func:`fiberaug.hub.push`, as of all that follows.
        name: Of the repository, for the card.
        licence: Of what is sent.
        token: That it will be sent with: no file may hold it.
        progress: Show a bar on a terminal.

    Raises:
        UsageError: The folder holds nothing that is pushed.
        DataRefused: See :func:`fiberaug.hub.push`.
        StoreError: It cannot be read.
    """
    subject = find_subject(folder)
    files, notes = list_files(subject)
    if len(files) > _MOST_FILES:
        raise DataRefused(
            f"{folder} has {len(files)} files, and one commit takes {_MOST_FILES}:"
            " convert with a larger --shard-size"
        )
    for path, file in files.items():
        check_content(file, path, token=token)
    check_sound(subject, files, progress=progress)
    items = [_item(path, file, notes) for path, file in files.items() if path != CARD]
    sizes = {item.path: item.size for item in items}
    card, more = _card(subject, name, licence, files.get(CARD), sizes)
    content = card.encode()
    items.append(Item(path=CARD, source=content, size=len(content)))
    return Parcel(
        kind=subject.kind, card=card, notes=(*notes, *more),
        items=tuple(sorted(items, key=lambda item: item.path)),
    )  # fmt: skip


def _item(path: str, file: Path, notes: list[str]) -> Item:
    """Return a file as it is sent; a JSON file without paths of this machine."""
    try:
        size = file.stat().st_size
        clean = _CLEANED.get(file.suffix.lower())
        if clean is not None and file.name not in _VOCABULARIES:
            content, places = clean(file.read_bytes(), path)
            if places:
                notes.append(
                    f"{path} names paths of this machine ({', '.join(places[:5])}):"
                    " their last part is sent in place of them"
                )
                return Item(path=path, source=content, size=len(content))
    except OSError as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"cannot read {file}: {error.strerror}") from error
    return Item(path=path, source=file, size=size)


def _card(
    subject: Subject,
    name: str,
    licence: str | None,
    own: Path | None,
    sizes: dict[str, int],
) -> tuple[str, list[str]]:
    """Return the card, and notes: the user's own where there is one."""
    synthetic = subject.kind != "dataset"
    if own is not None:
        content = own.read_bytes()
        notes = check_card(content, synthetic=synthetic)
        if licence is not None:
            notes.append(f"--licence is not used: {CARD} of the folder is sent")
        return content.decode("utf-8"), [f"{CARD} of the folder is sent", *notes]
    facts: Facts = _FACTS[subject.kind](subject, name, licence)
    notes = []
    if "license" not in facts.front:
        notes.append("the licence is not stated: --licence names it")
    return write_card(facts, sizes), notes
