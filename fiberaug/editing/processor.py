"""Region edits of single photos, of files in a folder, and of samples."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.decode.fields import resolve_auto
from fiberaug.decode.text import parse_json, parse_metadata
from fiberaug.editing.editor import Editor
from fiberaug.editing.fields import relabelled
from fiberaug.editing.labels import judge
from fiberaug.editing.objects import Objects
from fiberaug.editing.options import EditOptions
from fiberaug.editing.photo import edit_photo
from fiberaug.editing.sample import (
    EDIT,
    EditedSample,
    Reading,
    edit_sample,
    remake,
)
from fiberaug.errors import DataRefused, SampleBroken, StoreError, UsageError
from fiberaug.processing import LOG, ImageProcessor
from fiberaug.sample import Sample
from fiberaug.synthetic.generator import ImageGenerator
from fiberaug.synthetic.provenance import FIELD, Parent, Provenance

__all__ = ["RegionEdit"]

_BESIDE = ("json", "txt", "mask.png")
_PHOTOS = frozenset({"jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff"})
_DRAWN = 2**62


class RegionEdit(ImageProcessor):
    """Edits regions of photos with a generator, labels kept.

    On files: :meth:`process` edits one file of ``input_path``, :meth:`process_folder`
    all of them. Labels are read beside a photo ``NAME.jpg``: ``NAME.json`` with
    ``objects`` of ``bbox`` [x_min, y_min, x_max, y_max] and ``label``,
    ``NAME.mask.png`` and ``NAME.txt``; they are written again as far as they still
    hold. ``NAME.json`` says where the photo comes from, and :meth:`replay` makes it
    again from that.

    On samples: as ``transform`` of a data set that is read in its own process. In a
    worker of a loader it refuses to run: write a pool
    (:func:`fiberaug.editing.edit_pool`) and mix it in.

    Args:
        editor: See :class:`fiberaug.ImageGenerator`; it takes ``image``, and ``mask``
            where it inpaints; in the mode ``paste`` it makes images of classes.
        input_path: Folder of photos.
        output_path: Folder of edited photos.
        names: Class names by id.
        options: Of :class:`fiberaug.editing.EditOptions`.

    Raises:
        UsageError: An option is out of range, or the editor cannot do it.
    """

    def __init__(
        self,
        editor: ImageGenerator,
        input_path: str | Path | None = None,
        output_path: str | Path | None = None,
        *,
        names: Sequence[str] = (),
        **options: Any,  # noqa: ANN401  # EditOptions refuses unknown ones
    ) -> None:
        super().__init__(input_path, output_path)
        self._editor = Editor(editor, EditOptions.from_dict(options), names)
        self._info: dict[str, Any] = {}

    @property
    def params(self) -> dict[str, Any]:
        """What the editor says of itself, the class names, and the options."""
        return {
            "editor": self._editor.described, "names": list(self._editor.names),
            **self._editor.options.to_dict(),
        }  # fmt: skip

    def process(self, name: str, *, seed: int | None = None) -> Path:
        """Edit one photo of ``input_path`` and write it under ``output_path``.

        Beside it stand its labels, what was changed (``NAME.edit.png``), and a line in
        ``operations.jsonl``.

        Args:
            name: The file's name, relative to ``input_path``.
            seed: In place of the option, in [0, 2**64).

        Returns:
            The path of the edited photo.

        Raises:
            UsageError: There is no ``input_path`` or ``output_path``, or the name leads
                out of them.
            StoreError: A file cannot be read or written.
            SampleBroken: The photo or a label is broken, or nothing is to be edited.
        """
        _refuse_worker()
        members, extension = self._members(name)
        editor = self._editor
        if seed is not None:
            options = replace(editor.options, seed=seed)
            editor = Editor(editor.generator, options, editor.names)
        key = Path(name).with_suffix("").as_posix()
        made = edit_sample(
            members, editor, self._reading(members, extension), parent=Parent(key=key)
        )
        if made is None:
            raise SampleBroken(
                f"{name} has nothing to be edited: no"
                f" {editor.options.region} of the classes that were asked for",
                key=key, stage="edit",
            )  # fmt: skip
        return self._write_all(name, made, editor.options.seed)

    def process_folder(self) -> tuple[list[Path], dict[str, str]]:
        """Edit all photos of ``input_path`` and below.

        Returns:
            The edited photos, and by name why others were left out.

        Raises:
            UsageError: There is no ``input_path`` or ``output_path``.
            StoreError: A file cannot be read or written.
        """
        folder = self._place("input_path", ".")
        done: list[Path] = []
        refused: dict[str, str] = {}
        for path in sorted(folder.rglob("*")):
            last = path.name.partition(".")[2].lower()
            if last not in _PHOTOS:
                continue
            name = path.relative_to(folder).as_posix()
            try:
                done.append(self.process(name))
            except DataRefused as error:
                refused[name] = error.message
        return done, refused

    def replay(self, name: str) -> EditedSample:
        """Return an edited photo made again from its parent and what is on record.

        Args:
            name: Of the parent, relative to ``input_path``.

        Raises:
            ReplayMismatch: The parent or the editor is another one, or what came out
                has other pixels.
            StoreError: A file cannot be read.
            UsageError: The record is not sound.
        """
        members, extension = self._members(name)
        notes = parse_json(_read(self._beside("output_path", name, "json")))
        said = notes.get(FIELD) if isinstance(notes, Mapping) else None
        return remake(
            members, Provenance.from_dict(said), self._editor,
            self._reading(members, extension),
        )  # fmt: skip

    def _process_sample(self, sample: Sample) -> Any:  # noqa: ANN401  # as the base says
        _refuse_worker()
        pixels = np.array(sample["image"])
        caption = sample.get("caption")
        done = edit_photo(
            pixels, sample, self._editor, name=f"{int(self.rng.integers(_DRAWN))}",
            caption=caption if isinstance(caption, str) else None,
        )  # fmt: skip
        objects = Objects.of(sample, pixels.shape[1], pixels.shape[0])
        editor = self._editor
        fates = judge(
            editor.options, done.edits, objects.touched(done.changed),
            asked=editor.tells_class,
        )  # fmt: skip
        self._info = {
            "edits": [one.told for one in done.edits], "labels": fates.to_dict(),
        }  # fmt: skip
        changes = relabelled(
            sample, fates, done.changed, ignore=editor.options.ignore, to=editor.to
        )
        return sample.replace(image=pixels, **changes)

    def _process_info(self) -> dict[str, Any]:
        return self._info

    def _process(self, image: NDArray[Any]) -> NDArray[Any]:
        raise NotImplementedError

    def _members(self, name: str) -> tuple[dict[str, bytes], str]:
        """Return a photo and what stands beside it, as members of a sample."""
        path = self._place("input_path", name)
        extension = path.suffix[1:].lower()
        members = {extension: _read(path)}
        for one in _BESIDE:
            beside = self._beside("input_path", name, one)
            if beside.is_file():
                members[one] = _read(beside)
        return members, extension

    def _reading(self, members: Mapping[str, bytes], extension: str) -> Reading:
        del extension
        specs = resolve_auto(members, parse_metadata(members))
        return Reading(specs=specs, classes=self._editor.names)

    def _beside(self, which: str, name: str, extension: str) -> Path:
        path = self._place(which, name)
        return path.with_name(f"{path.stem}.{extension}")

    def _write_all(self, name: str, made: EditedSample, seed: int) -> Path:
        target = self._beside("output_path", name, made.image)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            # The photo last: where it is, its labels are there, too.
            for extension in sorted(made.members, key=lambda one: one == made.image):
                path = self._beside("output_path", name, extension)
                partial = path.with_name(f".{os.getpid()}-{path.name}")
                partial.write_bytes(made.members[extension])
                partial.replace(path)
            line = {
                "file": name, "processor": type(self).name(), "params": self.params,
                "seed": seed, "changed": self._beside("output_path", name, EDIT).name,
                "info": made.provenance.params.others.get("edits"),
            }  # fmt: skip
            with (target.parent / LOG).open("a", encoding="utf-8") as log:
                log.write(json.dumps(line, default=str) + "\n")
        except OSError as error:
            raise StoreError(f"cannot write {target}: {error}") from error
        return target


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}") from error


def _refuse_worker() -> None:
    """Refuse to run in a worker of a loader.

    Raises:
        UsageError: This is one.
    """
    if "torch.utils.data" not in sys.modules:
        return
    from torch.utils.data import get_worker_info  # noqa: PLC0415  # it is there, or not needed

    if get_worker_info() is not None:
        raise UsageError(
            "never generate in a DataLoader worker: each would hold the model, and"
            " training would wait for it; write a pool with fiberaug edit and mix it in"
            " (mix=fiberaug.Mix('pool/', ratio=0.25)), or use num_workers=0"
        )
