"""How a new word is learned; everything is checked before a model is opened."""

import re
from dataclasses import dataclass
from typing import Any

from fiberaug.errors import UsageError
from fiberaug.training.lora_options import LoRAOptions

__all__ = ["InversionOptions"]

_TOKEN = re.compile(r"<[^<>\s{}]{1,100}>")
_MOST_VECTORS = 32  # a prompt has 75 tokens
_OF_ADAPTERS = ("rank", "alpha", "targets", "prior_weight", "eight_bit")


@dataclass(frozen=True, kw_only=True)
class InversionOptions(LoRAOptions):
    """The word, what it begins as, rates."""

    token: str = ""
    """How prompts name it: ``<name>``."""

    begin: str = ""
    """A word of the model, whose embedding it begins with."""

    vectors: int = 1
    """Embeddings that it stands for, 1 to 32."""

    def __post_init__(self) -> None:
        """Check the arguments.

        Raises:
            UsageError: One is out of range.
        """
        super().__post_init__()
        token: Any = self.token
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise UsageError(
                f'token must be a name in angle brackets, such as "<thing>", got'
                f" {token!r:.120}: without them it could be a part of another word"
            )
        begin: Any = self.begin
        if not isinstance(begin, str) or not begin.strip():
            raise UsageError(f'begin must be a word such as "dog", got {begin!r:.80}')
        if type(self.vectors) is not int or not 1 <= self.vectors <= _MOST_VECTORS:
            raise UsageError(
                f"vectors must be an integer from 1 to {_MOST_VECTORS}, got"
                f" {self.vectors!r:.80}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name, fit for JSON, without those of adapters."""
        found = super().to_dict()
        return {name: one for name, one in found.items() if name not in _OF_ADAPTERS}
