"""Texts that a model follows: filled in, and checked to be read to their end."""

import re
from collections.abc import Sequence
from typing import Any

from fiberaug.errors import UsageError

__all__ = ["check_prompt", "fill", "texts_of"]

_PLACEHOLDER = re.compile(r"\{(\w*)\}")
_TOKEN = re.compile(r"<[^<>\s]+>")
_KNOWN = ("label", "caption")


def texts_of(given: object, count: int, name: str) -> list[str | None]:
    """Return a text for each of ``count`` images.

    Args:
        given: One for all, one for each, or None.
        count: Images.
        name: Of the condition, for errors.

    Raises:
        UsageError: It is neither.
    """
    if given is None or isinstance(given, str):
        return [given] * count
    if isinstance(given, Sequence) and all(isinstance(one, str) for one in given):
        if len(given) != count:
            raise UsageError(
                f"{name} must be one text, or one for each of {count} images, got"
                f" {len(given)}"
            )
        return list(given)
    raise UsageError(f"{name} must be text, or one text an image, got {given!r:.80}")


def fill(template: str, label: str | None, caption: str | None) -> str:
    """Return a prompt with its placeholders filled in.

    Args:
        template: ``{label}`` stands for the class's name, ``{caption}`` for a caption.
        label: The class's name. None: there are no names.
        caption: None: there is none.

    Raises:
        UsageError: A placeholder is unknown, or there is nothing to put in its place.

    >>> fill("a photo of a {label}, {caption}", "cat", "asleep")
    'a photo of a cat, asleep'
    """
    values = {"label": label, "caption": caption}

    def put(found: re.Match[str]) -> str:
        name = found[1]
        if name not in _KNOWN:
            raise UsageError(
                f"the prompt {template!r:.160} has {found[0]}; there are {{label}} and"
                " {caption}"
            )
        value = values[name]
        if value is None:
            remedy = (
                "names of classes, by classes= (--classes)"
                if name == "label"
                else "the condition caption"
            )
            raise UsageError(
                f"{found[0]} in the prompt {template!r:.160} needs {remedy}"
            )
        return value

    return _PLACEHOLDER.sub(put, template)


def check_prompt(prompt: str, pipeline: Any, name: str = "prompt") -> None:  # noqa: ANN401
    """Refuse a text of which a part would be left out in silence.

    Args:
        prompt: Filled in.
        pipeline: Of diffusers: its tokenizer reads the text.
        name: Of the condition, for errors.

    Raises:
        UsageError: It is longer than the text encoder reads, or names a token such as
            ``<scratch>`` for which no embedding was loaded.
    """
    tokenizer = pipeline.tokenizer
    words = tokenizer.get_vocab()
    missing = [token for token in _TOKEN.findall(prompt) if token not in words]
    if missing:
        raise UsageError(
            f"the {name} {prompt!r:.160} has the token {missing[0]}, and no embedding"
            " for it was loaded: give its file by embeddings="
        )
    most = int(tokenizer.model_max_length)
    whole = pipeline.maybe_convert_prompt(prompt, tokenizer)
    ids = tokenizer(whole, truncation=False, verbose=False).input_ids
    if len(ids) > most:
        cut = tokenizer.decode(ids[most - 1 : -1]).strip()
        raise UsageError(
            f"the {name} has {len(ids)} tokens, start and end included, and the text"
            f" encoder reads {most}: {cut!r:.200} would be left out. Make it shorter"
        )
