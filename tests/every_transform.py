"""Every transform of Albumentations, recorded and replayed: the table of the manual.

    python tests/every_transform.py docs/albumentations.md

writes the page anew. A transform that the library adds needs a line in
``every_transform_cases.py`` only if it needs arguments.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import numpy as np
from every_transform_cases import (
    CASES,
    DTYPES,
    REFERENCES,
    SIZES,
    Case,
    darker,
    fields_of,
    transforms,
    write_shards,
)
from markers import EXCEPTIONS

import fiberaug
from fiberaug.engine import Engine
from fiberaug.replaying import open_run

__all__ = ["Result", "Run", "build", "expected", "page", "run_all", "transforms"]

VIEWS = 2
SEED = 5  # p = 0.5 changes the first view of a sample and leaves the second alone
CHANCES = (1.0, 0.5)


class Run(NamedTuple):
    """One transform, with one dtype and one probability."""

    name: str
    dtype: str
    p: float

    def place(self, folder: Path) -> Path:
        """The run folder."""
        return folder / "runs" / f"{self.name}-{self.dtype}-{self.p}"

    @property
    def case(self) -> Case:
        return CASES.get(self.name, Case())

    @property
    def fields(self) -> dict[str, str]:
        """The field mapping."""
        more = self.case.fields.items()
        own = {n: source.format(dtype=self.dtype) for n, source in more}
        return {"image": "png"} | fields_of(self.name) | own

    @property
    def before(self) -> list[Any]:
        """What runs before the transform."""
        floats = [A.ToFloat(max_value=255)] if self.dtype == "float32" else []
        return [*self.case.before, *floats]


class Result(NamedTuple):
    """What came of a run."""

    run: Run
    texts: list[str]
    """Records, as JSON."""

    made: list[dict[str, str]]
    """SHA-256 of each field, for each record."""

    untouched: dict[str, dict[str, str]]
    """The same without the transform, by key of the sample."""

    replayed: list[dict[str, str]]
    """As ``made``, of another process; empty where it failed."""

    refused: str
    """Why the run folder alone is not enough; empty: it is."""

    failed: str
    """Why nothing could be recorded, or replayed."""

    @property
    def exact(self) -> bool:
        return not self.failed and self.made == self.replayed != []


def build(folder: Path, run: Run, *, bare: bool = False) -> fiberaug.StreamingDataset:
    """The data set of a run; ``bare`` without its transform."""
    arguments = dict(run.case.arguments)
    if "font_path" in arguments:
        arguments["font_path"] = folder / arguments["font_path"]
    leaf = A.NoOp(p=0) if bare else transforms()[run.name](**arguments, p=run.p)
    return fiberaug.StreamingDataset(
        str(folder / "set"), fields=run.fields, transform=[*run.before, leaf],
        seed=SEED, views=VIEWS, on_error="raise",
    )  # fmt: skip


def expected(run: Run, *, applied: bool = True) -> list[tuple[str, str]]:
    """(path, name) of the operations that a record has to name."""
    names = [type(item).__name__ for item in run.before]
    # As the last one it is left to the collating, which makes tensors anyway.
    if applied and (run.name, run.p) != ("ToTensorV2", 1):
        names.append(run.name)
    return [(str(i), name) for i, name in enumerate(names)]


def digest(value: Any) -> str:
    """SHA-256 of a field: of dtype, shape and bytes, or of what it holds."""
    found = hashlib.sha256()
    if hasattr(value, "numpy"):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        found.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
    elif isinstance(value, Mapping):
        value = [part for item in value.items() for part in item]
    if isinstance(value, list | tuple):
        found.update("".join(map(digest, value)).encode())
    elif not isinstance(value, np.ndarray):
        found.update(repr(value).encode())
    return found.hexdigest()


def record(
    dataset: fiberaug.StreamingDataset, log: Path | None = None
) -> tuple[list[str], list[dict[str, str]]]:
    """Records of an epoch as JSON, and the hashes of the fields that came with them."""
    texts, made = [], []
    with fiberaug.DataLoader(dataset, len(SIZES), collate="list", log=log) as loader:
        (batch,) = loader
    names = [spec.name for spec in dataset.specs]
    changed = Engine(dataset.setup).per_view(names)
    for row, records in enumerate(batch["record"]):
        for view, found in enumerate(records):
            texts.append(found.to_json())
            fields = {n: batch[n][row] for n in names}
            fields |= {n: fields[n][view] for n in changed}
            made.append({n: digest(value) for n, value in fields.items()})
    return texts, made


def run_all(folder: Path, names: Iterable[str] | None = None) -> list[Result]:
    """Record all runs here, and replay them in one other process as they come."""
    write_shards(folder)
    answers = folder / "answers.jsonl"
    recorded: list[Result] = []
    bare: dict[str, dict[str, dict[str, str]]] = {}
    command = "import every_transform; every_transform.answer()"
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with answers.open("w") as out, subprocess.Popen(
        [sys.executable, "-c", command, str(folder)],
        stdin=subprocess.PIPE, stdout=out, text=True, env=here,
    ) as other, warnings.catch_warnings():  # fmt: skip
        warnings.simplefilter("ignore")  # the library's, of deprecated transforms
        for name in names or transforms():
            for run in (Run(name, dtype, p) for dtype in DTYPES for p in CHANCES):
                like = f"{run.fields} {run.before}"
                try:
                    if like not in bare:
                        texts, made = record(build(folder, run, bare=True))
                        keys = [json.loads(text)["key"] for text in texts]
                        bare[like] = dict(zip(keys, made, strict=True))
                    texts, made = record(build(folder, run), run.place(folder))
                except Exception as error:  # noqa: BLE001  # it becomes a line of the table
                    recorded.append(Result(run, [], [], {}, [], "", _said(error)))
                    continue
                recorded.append(Result(run, texts, made, bare[like], [], "", ""))
                other.stdin.write(json.dumps([run, texts]) + "\n")
                other.stdin.flush()
    found = map(json.loads, answers.read_text().splitlines())
    return [r if r.failed else r._replace(**next(found)) for r in recorded]


def answer() -> None:
    """In the other process: replay the records that come in, a run a line."""
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        values, texts = json.loads(line)
        run = Run(*values)
        refused = failed = ""
        replayed = []
        try:
            try:
                source = open_run(run.place(folder))
            except fiberaug.UsageError as error:
                refused, source = error.message, build(folder, run)
            for text in texts:
                sample = fiberaug.replay(text, source)
                replayed.append({n: digest(sample[n]) for n in run.fields})
        except Exception as error:  # noqa: BLE001  # it becomes a line of the table
            replayed, failed = [], _said(error)
        found = {"replayed": replayed, "refused": refused, "failed": failed}
        print(json.dumps(found), flush=True)  # noqa: T201  # the pipe back


def _said(error: Exception) -> str:
    text = str(error).rpartition("error: ")[2]  # OpenCV names a path of its build
    return f"{type(error).__name__}: {' '.join(text.split())}".replace("`", "'")


def refusal(call: Callable[[], Any]) -> str:
    """What the library says against a call."""
    try:
        call()
    except Exception as error:  # noqa: BLE001  # whatever it says
        return _said(error)
    return "nothing"


def _with_boxes(leaf: Any, **more: Any) -> Callable[[], Any]:
    compose = A.Compose([leaf], bbox_params=A.BboxParams("pascal_voc"))
    image, boxes = np.zeros((64, 129, 3), np.uint8), np.array([[1.0, 1, 9, 9]])
    return lambda: compose(image=image, bboxes=boxes, **more)


_VOLUME = "has no image transform: it changes `volume` and `mask3d`, `.npy` members"
_REFERENCES = (
    "reference images in `{}`, an `.npz` or `.npy` member, of the image's dtype"
)
NOTES: dict[str, str | Callable[[], str]] = {
    **{n: _VOLUME for n, k in transforms().items() if issubclass(k, A.Transform3D)},
    **{n: _REFERENCES.format(*CASES[n].fields) for n in CASES if REFERENCES in
       CASES[n].fields.values()},
    "FromFloat": "made for float pixels; uint8 pixels wrap around, in replay as well",
    "Lambda": lambda: (
        "its functions do not serialise; replay with the data set, which has them."
        f" Albumentations: `{refusal(lambda: A.to_dict(A.Lambda(image=darker)))}`"
    ),
    "Mosaic": "`mosaic_metadata` is a list of dicts of arrays, as no member is: an"
    " `ImageProcessor` in front makes it of an `.npz`; import it before a replay",
    "Normalize": "as the last one with `p=1` it is done for whole batches, and logged",
    "OverlayElements": lambda: (
        "`overlay_metadata` is an `.npz` of `image`, `bbox`, `mask`, `mask_id`."
        " With boxes or points, Albumentations: `"
        + refusal(_with_boxes(A.OverlayElements(p=1), overlay_metadata=[])) + "`"
    ),
    "RandomCropNearBBox": "`cropping_bbox` in px comes from JSON",
    "TextImage": "`textimage_metadata` comes from JSON; the file of `font_path` has to"
    " be where it was",
    "ToRGB": "run on gray images",
    "ToTensor3D": _VOLUME,
    "ToTensorV2": "as the last one with `p=1` it is left out and not logged: batches"
    " are tensors",
}  # fmt: skip

_PAGE = """# Albumentations, transform by transform

<!-- python tests/every_transform.py docs/albumentations.md -->

Every transform of Albumentations {version}, {transforms} in all, was run on uint8 and on float32 images (`A.ToFloat(max_value=255)` in front), with p = 1 and with p = 0.5.
Each of the {runs} runs recorded {views} views of {samples} samples; another process read the {records} records as JSON text and replayed them.
`tests/augment/test_every_transform.py` does the same, and compares this page with what it finds.

- **exact**: SHA-256 of dtype, shape and bytes of every field is the same in the run and in the replay: image, mask, boxes, labels, points and their labels, volumes.
  With p = 1 every record names the transform; with p = 0.5 some do, and the samples of the others are untouched.
- **run folder**: `fiberaug.replay(record, "run/")` is enough, the pipeline is rebuilt from the manifest; else `replay` says why, and takes the data set or the loader of the run.
- **targets**: fields that went through the transform with the image; what it does not take stays as it is.
- **note**: what else the transform needs, and where the library refuses something, its own words.
  An exception is a cell that is not `exact`, or a run folder that is not enough (`no`: `replay` raises); its note gives the reason.

Exact is promised within one environment: the record's `environment` is a hash of the versions of FiberAug, Albumentations, albucore, NumPy, OpenCV and torch, of Python, and of the features of the processor.
Elsewhere `replay` warns; with `pixel_hash=True` it compares the pixels and refuses what differs.

A record says `"replayable": true` where this table says that the run folder is enough, and `false` elsewhere; but for Mosaic, whose other images come from a processor that cannot be tried on a synthetic sample.

| transform | targets | uint8 | float32 | run folder | note |
|---|---|---|---|---|---|
{rows}

## Where boxes and points are not quite where the pixels are

Coloured markers were drawn into images, and found again after every transform that takes boxes, masks or points (`tests/laws/test_markers.py`): targets are where the pixels went, but for what the library does here.
Two things of the library are mended here: a box of which a distortion leaves no pixel is dropped, not left at its old place; and `Morphological` grows each box by itself, not all of them as one picture.

{exceptions}
"""  # noqa: E501  # one sentence a line


def page(results: list[Result]) -> str:
    """The page of the manual."""
    by_name: dict[str, list[Result]] = {}
    for result in results:
        by_name.setdefault(result.run.name, []).append(result)
    return _PAGE.format(
        version=A.__version__, transforms=len(by_name), runs=len(results), views=VIEWS,
        samples=len(SIZES), records=sum(len(result.texts) for result in results),
        rows="\n".join(_row(name, found) for name, found in by_name.items()),
        exceptions="\n".join(f"- {n}: {text}." for n, text in EXCEPTIONS.items()),
    )  # fmt: skip


def _row(name: str, results: list[Result]) -> str:
    targets = ", ".join(n for n in fields_of(name) if not n.endswith("_labels"))
    cells = []
    for dtype in DTYPES:
        bad = [r for r in results if r.run.dtype == dtype and not r.exact]
        cells.append((bad[0].failed or "other pixels") if bad else "exact")
    alone = "no" if any(result.refused for result in results) else "yes"
    note = NOTES.get(name, "")
    note = note if isinstance(note, str) else note()
    return f"| {name} | {targets} | {' | '.join(cells)} | {alone} | {note} |"


def main() -> None:
    """Write the page that is named on the command line."""
    with tempfile.TemporaryDirectory() as folder:
        text = page(run_all(Path(folder)))
    Path(sys.argv[1]).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
