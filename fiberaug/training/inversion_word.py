"""A new word of a frozen text encoder: its embeddings, and nothing else, are trained.

Gal et al., "An Image is Worth One Word: Personalizing Text-to-Image Generation using
Textual Inversion", 2022.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from fiberaug.errors import UsageError
from fiberaug.pretrained.prompts import check_prompt
from fiberaug.synthetic.descriptions import refuse_second
from fiberaug.training.lora_adapters import Adapters
from fiberaug.training.lora_folder import write_description

__all__ = ["EMBEDDINGS", "Reader", "Word", "WordedModel", "save_word"]

EMBEDDINGS = "learned_embeds.safetensors"
"""As diffusers calls it."""


class Word(Adapters):
    """The embeddings of a word.

    Args:
        vectors: float32 [V, numbers], what they begin as.
    """

    def __init__(self, vectors: torch.Tensor) -> None:
        nn.Module.__init__(self)
        self.vectors = nn.Parameter(vectors.detach().float().clone())


class _WithWord(nn.Module):
    """An embedding of tokens, of which some ids are the new word's.

    Args:
        inner: The model's own, frozen.
        word: The new one.
        first: Its first id; whatever rows the model's own has from there on.
    """

    def __init__(self, inner: nn.Module, word: Word, first: int) -> None:
        super().__init__()
        self.inner, self.word, self.first = inner, word, first

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return what tokens mean, [B, T, numbers]."""
        vectors = self.word.vectors
        numbers = torch.arange(len(vectors), device=ids.device) + self.first
        chosen = ids[..., None] == numbers
        new = chosen.any(-1)
        plain: torch.Tensor = self.inner(ids.masked_fill(new, 0))
        # a product, not a look-up: its gradient is summed in a fixed order
        own = chosen.to(vectors.dtype) @ vectors
        return torch.where(new[..., None], own.to(plain.dtype), plain)


class WordedModel(nn.Module):
    """A frozen UNet and a frozen text encoder that knows one word more.

    Args:
        unet: Of diffusers.
        text_encoder: Of transformers; its embedding of tokens is put inside another.
        word: The new one.
        first: Its first id.
    """

    def __init__(
        self,
        unet: nn.Module,
        text_encoder: Any,  # noqa: ANN401  # of transformers
        word: Word,
        first: int,
    ) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder
        self.requires_grad_(requires_grad=False)
        own = text_encoder.get_input_embeddings()
        text_encoder.set_input_embeddings(_WithWord(own, word, first))
        self.word = word

    def told(self, ids: torch.Tensor) -> torch.Tensor:
        """Return what the UNet is told of prompts, [B, tokens, numbers].

        Args:
            ids: int64 [B, tokens], on any device.
        """
        device = next(self.text_encoder.parameters()).device
        found: torch.Tensor = self.text_encoder(ids.to(device))[0]
        return found.float()


class Reader:
    """Reads prompts with a new word in them, as a pipeline of diffusers does.

    Args:
        tokenizer: Of the model; a copy of it gets the word.
        token: The word.
        vectors: Embeddings that it stands for: ``<name> <name>_1 ...``.

    Raises:
        UsageError: The model has such a token.
    """

    def __init__(self, tokenizer: Any, token: str, vectors: int) -> None:  # noqa: ANN401
        self._tokens = [token, *(f"{token}_{i}" for i in range(1, vectors))]
        there = [one for one in self._tokens if one in tokenizer.get_vocab()]
        if there:
            raise UsageError(
                f"the token {there[0]!r:.80} is there already: give the new word"
                ' another name, such as token="<my-thing>"'
            )
        self.tokenizer = copy.deepcopy(tokenizer)
        self.tokenizer.add_tokens(self._tokens)
        self.first: int = self.tokenizer.convert_tokens_to_ids(token)

    def maybe_convert_prompt(self, prompt: str, tokenizer: Any) -> str:  # noqa: ANN401
        """Return a prompt in which the word is all of its tokens."""
        del tokenizer
        return prompt.replace(self._tokens[0], " ".join(self._tokens))

    def ids(self, prompts: Sequence[str]) -> torch.Tensor:
        """Return the tokens of prompts, int64 [P, tokens].

        Raises:
            UsageError: One is longer than the text encoder reads, or has a token that
                it does not know.
        """
        for one in prompts:
            if one:
                check_prompt(one, self)
        tokenizer = self.tokenizer
        found: torch.Tensor = tokenizer(
            [self.maybe_convert_prompt(one, tokenizer) for one in prompts],
            padding="max_length", truncation=True, return_tensors="pt",
            max_length=tokenizer.model_max_length,
        ).input_ids  # fmt: skip
        return found

    def id_of(self, word: str) -> int:
        """Return the one token of a word of the model.

        Raises:
            UsageError: It is several.
        """
        found = self.tokenizer.encode(word, add_special_tokens=False)
        if len(found) != 1:
            raise UsageError(
                f"begin={word!r:.80} is {len(found)} tokens of this model, and one is"
                ' wanted: a common word, such as "dog"'
            )
        return int(found[0])


def save_word(
    folder: Path,
    word: Word,
    *,
    token: str,
    base: Mapping[str, Any],
    prompts: Sequence[str],
    classes: Sequence[str],
    size: tuple[int, int],
    notes: Mapping[str, Any],
) -> None:
    """Write a word as ``load_textual_inversion`` of diffusers opens it.

    Args:
        folder: It is there and empty.
        word: Its embeddings.
        token: How prompts name it.
        base: ``name`` and ``sha256`` of the model that it belongs to.
        prompts: That were trained on.
        classes: Names by label.
        size: (height, width) of the images, px.
        notes: Whatever else should be known, fit for JSON.

    Raises:
        UsageError: The folder holds a generator already, or notes are not fit for JSON.
        StoreError: It cannot be written.
    """
    refuse_second(folder)
    held = word.vectors.detach().float().cpu().contiguous().clone()
    save_file({token: held}, folder / EMBEDDINGS, metadata={"format": "pt"})
    write_description(
        folder, EMBEDDINGS, base=base, prompts=prompts, classes=classes, size=size,
        notes=notes, token=token,
    )  # fmt: skip
