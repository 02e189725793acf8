"""What the card of a pool or a data set says."""

from collections.abc import Mapping
from typing import Any

from fiberaug.hub.cards import Facts
from fiberaug.hub.facts import trained_on
from fiberaug.hub.licences import licence_fields
from fiberaug.hub.soundness import data_hash
from fiberaug.hub.subject import Subject
from fiberaug.shards.manifest import Manifest
from fiberaug.synthetic.poolfile import read_pool_file

__all__ = ["pool_facts", "set_facts"]

_SIZES = {
    "n<1K": 10**3, "1K<n<10K": 10**4, "10K<n<100K": 10**5, "100K<n<1M": 10**6,
    "1M<n<10M": 10**7, "10M<n<100M": 10**8,
}  # fmt: skip
_LOAD_SET = """\
import fiberaug

data = fiberaug.StreamingDataset("hf://datasets/{name}/")
loader = fiberaug.DataLoader(data, batch_size=64, num_workers=4)"""
_LOAD_POOL = """\
import fiberaug
from huggingface_hub import snapshot_download

pool = snapshot_download("{name}", repo_type="dataset")
data = fiberaug.StreamingDataset("shards/", mix=fiberaug.Mix(pool, ratio=0.25))"""
_LABELS = (
    "Labels are those that were asked for, or those of the photo that an image was made"
    " from; nobody looked at each."
)
_HELP = (
    "Whether they help to train a model is not known from this: measure it with"
    " `fiberaug.evaluate`, on real photos."
)
_LIMITS = (
    "All images are synthetic: made, or changed, by a generator. Never test on them.",
    _LABELS,
    _HELP,
)


def set_facts(subject: Subject, name: str, licence: str | None) -> Facts:
    """Return what the card of converted shards says.

    Args:
        subject: The folder.
        name: Of the repository.
        licence: Of what is sent; None: it is not known.
    """
    manifest = Manifest.read(subject.folder)
    producer = dict(manifest.producer)
    arguments = producer.pop("arguments", {})
    return Facts(
        title=name.rpartition("/")[2],
        about="Images as WebDataset tar shards with indexes, written by FiberAug.",
        front={
            **licence_fields(licence), **_common(manifest),
            "tags": ["fiberaug", "webdataset"],
        },
        tables={
            "What it is": [*_contents(manifest, subject), *_splits(manifest),
                           ("licence", licence or "not stated")],
            "How it was written": [
                *producer.items(),
                *(row for row in _rows(arguments) if row[1] not in (None, {}, "")),
            ],
        },
        loading=_LOAD_SET.format(name=name),
        limits=("What the images show, and who may use them: their owners say.",),
    )  # fmt: skip


def pool_facts(subject: Subject, name: str, licence: str | None) -> Facts:
    """Return what the card of a pool says; see :func:`set_facts`."""
    manifest = Manifest.read(subject.folder)
    file = read_pool_file(subject.folder)
    assert file is not None  # noqa: S101  # for the type: it was opened just now
    licence = licence or file.licence
    generator = dict(file.generator)
    trained = generator.pop("trained_on", None)
    asked = {
        n: one for n, one in file.asked.items()
        if n not in {"generator", "pool", "counts", "classes"} and one not in (None, {})
    }  # fmt: skip
    refused = {
        n: one["rejected"] for n, one in file.counts.items() if one.get("rejected")
    }
    return Facts(
        title=name.rpartition("/")[2],
        about="Synthetic images as WebDataset tar shards, made by FiberAug; each says"
        " where it comes from.",
        front={
            **licence_fields(licence), **_common(manifest),
            "annotations_creators": ["machine-generated"],
            "tags": ["fiberaug", "webdataset", "synthetic", "data-augmentation"],
        },
        tables={
            "What it is": [
                *_contents(manifest, subject),
                ("digital source type", file.source_type), ("state", file.state),
                ("images, height x width px",
                 f"{file.size['height']}x{file.size['width']}"),
                ("parents", file.parents.get("samples", 0)),
                ("licence", licence or "not stated"),
            ],
            "Generator": _rows(generator),
            "Its training data": trained_on(trained),
            "What was asked for": _rows(asked),
            "What was checked": [*_rows(file.checks), *_rows(refused, "refused of ")],
            "What it took": _rows(file.cost),
        },
        loading=_LOAD_POOL.format(name=name), limits=_LIMITS,
    )  # fmt: skip


def _common(manifest: Manifest) -> dict[str, Any]:
    """Return what the Hub is told of any set."""
    sizes = [size for size, most in _SIZES.items() if manifest.samples < most]
    return {
        "size_categories": sizes[:1],
        "task_categories": ["image-classification"] if manifest.classes else [],
    }


def _contents(manifest: Manifest, subject: Subject) -> list[tuple[str, Any]]:
    return [
        ("data hash", data_hash(subject.folder)),
        ("samples", manifest.samples),
        ("shards", len(manifest.shards)),
        ("samples by class", manifest.counts or "no classes"),
        *((f"field {name}", told) for name, told in manifest.fields.items()),
    ]


def _splits(manifest: Manifest) -> list[tuple[str, Any]]:
    return [
        (f"shards of the part {part}", len(names))
        for part, names in manifest.splits.items()
    ]


def _rows(told: object, prefix: str = "") -> list[tuple[str, Any]]:
    if not isinstance(told, Mapping):
        return []
    return [
        (f"{prefix}{name}".replace("_", " "), one)
        for name, one in told.items()
        if one is not None
    ]
