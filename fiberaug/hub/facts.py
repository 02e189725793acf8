"""What the card of a model or an adapter says."""

import re
from collections.abc import Mapping
from typing import Any

from fiberaug.errors import DataRefused
from fiberaug.hub.cards import Facts
from fiberaug.hub.licences import licence_fields
from fiberaug.hub.subject import ADAPTER, Subject
from fiberaug.shards.urls import redact
from fiberaug.synthetic.loading import FILE

__all__ = ["adapter_facts", "model_facts"]

_LIBRARY = "fiberaug"
_NAMES = {"gan": "GAN", "diffusion": "diffusion model"}
_LOAD = """\
import fiberaug
from huggingface_hub import snapshot_download

generator = fiberaug.load(snapshot_download("{name}"))
images = generator.generate(seeds=[0, 1, 2, 3], labels={labels})  # uint8, NHWC"""
_LOAD_OWN = """\
from huggingface_hub import snapshot_download

folder = snapshot_download("{name}")
# the network's code is not in the folder: build it, then
# fiberaug.synthetic.{module}.of(network, folder)"""
_LOAD_LORA = """\
from diffusers import AutoPipelineForText2Image
from huggingface_hub import snapshot_download

pipe = AutoPipelineForText2Image.from_pretrained("{base}", use_safetensors=True)
pipe.load_lora_weights(snapshot_download("{name}"), weight_name="{file}")"""
_LOAD_WORD = """\
from diffusers import AutoPipelineForText2Image
from huggingface_hub import snapshot_download

pipe = AutoPipelineForText2Image.from_pretrained("{base}", use_safetensors=True)
pipe.load_textual_inversion(
    snapshot_download("{name}"), token={token!r}, weight_name="{file}"
)  # then use {token} in prompts"""
_WORD = "learned_embeds.safetensors"
_TOKEN = re.compile(r"<[\w-]{1,64}>")

_JUDGED = {
    "kid": "kernel distance to photos (about 0: alike; of the judge's own features)",
    "precision": "share of images that look real",
    "recall": "share of photos that could be generated",
    "density": "as precision, not bounded by 1",
    "coverage": "share of photos with a generated image near",
    "near_copies": "share nearer to a training photo than 99 % of these to each other",
    "given_back": "share near to one training photo alone (about 0.01 for photos)",
    "closer_to_train": "share nearer to training than held-out photos (0.5 is right)",
    "label_accuracy": "share that the judge takes for the class asked for",
}
_COPIES = (
    "It can give back photos that it was trained on. Figures of a judge, where there"
    " are any, say how much was seen of it; they prove nothing."
)
_HELP = (
    "Whether its images help to train a model is not known from this: measure it with"
    " `fiberaug.evaluate`, on real photos that neither has seen."
)
_LIMITS = (
    "It makes images of the kind that it was trained on, and not of all of those.",
    _COPIES,
    _HELP,
)


def model_facts(subject: Subject, name: str, licence: str | None) -> Facts:
    """Return what the card of a generator says.

    Args:
        subject: The folder.
        name: Of the repository.
        licence: Of what is sent; None: as the folder says.
    """
    said = subject.said
    notes = _mapping(said.get("notes"))
    licence = licence or notes.get("licence") or said.get("licence")
    kind = str(said.get("kind", ""))
    family = kind.removesuffix("-own")
    labels = "[0, 0, 0, 0]" if said.get("classes") else "None"
    loading = _LOAD.format(name=name, labels=labels)
    if kind.endswith("-own"):
        module = (
            "gans.GANGenerator" if family == "gan" else "diffusions.DiffusionGenerator"
        )
        loading = _LOAD_OWN.format(name=name, module=module)
    what = _NAMES.get(family, "generator")
    return Facts(
        title=name.rpartition("/")[2],
        about=f"A {what} trained with FiberAug. All its images are synthetic.",
        front={
            **licence_fields(licence), "library_name": _LIBRARY,
            "pipeline_tag": "unconditional-image-generation",
            "tags": [_LIBRARY, "synthetic", "data-augmentation", family or "generator"],
            "base_model": hub_name(notes.get("base") or said.get("base")),
        },
        tables={
            "What it is": _what(said, licence),
            "Training data": trained_on(notes.get("trained_on")),
            "Training": _training(notes),
            "What a judge saw": judged(notes.get("figures")),
        },
        loading=loading, limits=_LIMITS,
    )  # fmt: skip


def adapter_facts(subject: Subject, name: str, licence: str | None) -> Facts:
    """Return what the card of a LoRA adapter or of a learned word says.

    See :func:`model_facts` for the arguments.

    Raises:
        DataRefused: The word is none.
    """
    said, notes = subject.said, _mapping(subject.said.get("notes"))
    of = said.get("base")
    told = _mapping(of).get("name") if isinstance(of, Mapping) else of
    base = hub_name(told)
    licence = licence or notes.get("licence")
    prompts = said.get("prompts") or notes.get("prompt") or "not on record"
    token, what, tag, load = said.get("token"), "A LoRA adapter", "lora", _LOAD_LORA
    if token is not None:
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise DataRefused(
                f"{subject.folder / FILE}: the word must be like <thing>, got"
                f" {token!r:.80}"
            )
        what, tag, load = "A learned word", "textual-inversion", _LOAD_WORD
    rows: list[tuple[str, Any]] = [
        ("kind", "LoRA" if token is None else "textual inversion"),
        ("word", token),
        ("base", told or "not on record"),
        ("sha256 of the base", _mapping(of).get("sha256")),
        ("prompts", prompts),
        ("classes", said.get("classes") or "none"),
        (
            "images, height x width px",
            "x".join(map(str, said.get("size") or ())) or None,
        ),
        ("licence", licence or "not stated"),
    ]
    return Facts(
        title=name.rpartition("/")[2],
        about=f"{what} of a text-to-image model, trained with FiberAug. All images made"
        " with it are synthetic.",
        front={
            **licence_fields(licence), "library_name": "diffusers", "base_model": base,
            "base_model_relation": "adapter" if base else None,
            "pipeline_tag": "text-to-image",
            "tags": [_LIBRARY, "synthetic", "data-augmentation", tag, "diffusers",
                     "text-to-image"],
        },
        tables={
            "What it is": [row for row in rows if row[1] is not None],
            "Training data": trained_on(notes.get("trained_on")),
            "Training": _training(notes),
            "What a judge saw": judged(notes.get("figures")),
        },
        loading=load.format(
            name=name, base=base or "BASE", token=token,
            file=ADAPTER if token is None else _WORD,
        ),
        limits=(
            *_LIMITS[1:],
            "Its base model has a licence of its own, which holds for it, too.",
        ),
    )  # fmt: skip


def _what(said: Mapping[str, Any], licence: str | None) -> list[tuple[str, Any]]:
    config = _mapping(said.get("config"))
    rows: list[tuple[str, Any]] = [
        ("kind", said.get("kind")),
        ("code", said.get("class")),
    ]
    size = config.get("size") or (said.get("shape") or [])[1:]
    if size:
        rows.append(("images, height x width px", "x".join(map(str, size))))
    rows += [("classes", said.get("classes") or "none")]
    options = {n: one for n, one in config.items() if n not in {"size", "classes"}}
    rows += [(n, one) for n, one in options.items() if one is not None]
    sampling = _mapping(said.get("sampling"))
    rows += [(f"sampling: {n}", one) for n, one in sampling.items() if one is not None]
    rows.append(("licence", licence or "not stated"))
    weights = said.get("sha256")
    if isinstance(weights, Mapping):
        rows += [(f"sha256 of {n}", one) for n, one in weights.items()]
    elif weights:
        rows.append(("sha256 of the weights", weights))
    return rows


def trained_on(told: object) -> list[tuple[str, Any]]:
    """Return rows about training data, its hash first."""
    data = dict(_mapping(told))
    if not data:
        return [("data", "not on record")]
    classes, counts = data.pop("classes", None), data.pop("counts", None)
    rows: list[tuple[str, Any]] = [("data hash", data.pop("fingerprint", "none"))]
    if classes and isinstance(counts, list) and len(counts) == len(classes):
        rows.append(("photos by class", dict(zip(classes, counts, strict=True))))
    return rows + [
        (n.replace("_", " "), one) for n, one in data.items() if one is not None
    ]


def _training(notes: Mapping[str, Any]) -> list[tuple[str, Any]]:
    rows = _present(notes, "images", "steps")
    options = _mapping(notes.get("options"))
    return rows + [(n, one) for n, one in options.items() if one is not None]


def judged(told: object) -> list[tuple[str, Any]]:
    """Return the figures of a training's judge, each with what it means."""
    figures = _mapping(told)
    return [
        (f"{name}: {meaning}", figures[f"judge/{name}"])
        for name, meaning in _JUDGED.items()
        if f"judge/{name}" in figures
    ]


def hub_name(told: object) -> str | None:
    """Return what is the name of a model on the Hub; None: it is a folder."""
    if (
        not isinstance(told, str)
        or told.count("/") != 1
        or told.startswith((".", "/", "~"))
    ):
        return None
    return redact(told.split("@", maxsplit=1)[0])


def _present(notes: Mapping[str, Any], *names: str) -> list[tuple[str, Any]]:
    return [(one, notes[one]) for one in names if notes.get(one) is not None]


def _mapping(told: object) -> Mapping[str, Any]:
    return told if isinstance(told, Mapping) else {}
