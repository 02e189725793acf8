"""Who races, on what: the list that the driver goes through."""

from dataclasses import dataclass

__all__ = ["ENTRANTS", "REFERENCE", "SMOKE", "SMOOTH", "TASKS", "Entrant", "Task"]

REFERENCE = "webdataset"
"""Whose pixels the others' must be like: plain code, and none of ours."""

SMOOTH = "folder"
"""Whose edges bound those of entrants that smooth when they shrink: Pillow's."""


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A loader in one of its forms."""

    script: str
    """Name of ``run_<script>.py``."""

    form: str = ""
    """Which form of it, as the script knows it."""

    home: str = "venv"
    """Environment: ``venv`` is the one of the driver, others have a ``<home>.txt``."""

    smooths: bool = False
    """Whether it smooths when it shrinks; bilinear resampling alone does not."""

    about: str
    """What it is, for the table."""

    @property
    def ours(self) -> bool:
        """Whether it is a form of FiberAug."""
        return self.script == "fiberaug"


@dataclass(frozen=True, kw_only=True)
class Task:
    """A kind of work on an input."""

    work: str
    """``rrc``, ``heavy`` or ``detection``."""

    input: str
    """Name of the photos."""

    probe: str
    """Name of the photos from which the crops that were made can be read."""

    images: int
    """Least number of images that are timed."""

    about: str
    """What it is, for the table."""


ENTRANTS = {
    "fiberaug": Entrant(script="fiberaug", about="FiberAug"),
    "fiberaug-opencv": Entrant(
        script="fiberaug", form="opencv", about="FiberAug, decoding with OpenCV alone"
    ),
    "fiberaug-seekable": Entrant(
        script="fiberaug", form="seekable", about="FiberAug, seekable shards"
    ),
    "fiberaug-fast": Entrant(
        script="fiberaug", form="fast", smooths=True, about='FiberAug, decode="fast"'
    ),
    "webdataset": Entrant(
        script="webdataset", about="webdataset + Albumentations, torch DataLoader"
    ),
    "torchvision": Entrant(
        script="torchvision", home="torchvision",
        about="webdataset + torchvision v2, torch DataLoader",
    ),
    "dali": Entrant(
        script="dali", home="dali", about="NVIDIA DALI on the CPU, 2 threads"
    ),
    "spdl": Entrant(
        script="spdl", home="spdl", about="SPDL + Albumentations, 2 threads"
    ),
    "mosaicml": Entrant(
        script="mosaicml", home="mosaicml", about="MosaicML Streaming + Albumentations"
    ),
    "litdata": Entrant(
        script="litdata", home="litdata", about="LitData + Albumentations"
    ),
    "grain": Entrant(
        script="grain", home="grain", about="Grain + Albumentations, 2 threads"
    ),
    "grain-processes": Entrant(
        script="grain", form="processes", home="grain",
        about="Grain + Albumentations, 2 processes",
    ),
    "folder": Entrant(
        script="folder", smooths=True,
        about="folder of images + Pillow, torch DataLoader",
    ),
}  # fmt: skip

TASKS = {
    "rrc": Task(
        work="rrc", input="clothing", probe="probe-place", images=3000,
        about="photos of 400x533 (28 KB): RandomResizedCrop 224, flip, Normalize",
    ),
    "rrc-rendered": Task(
        work="rrc", input="rendered", probe="probe-place", images=3000,
        about="rendered photos of 500x375: the same",
    ),
    "heavy": Task(
        work="heavy", input="clothing", probe="probe-stripes", images=3000,
        about="photos of 400x533: the same, ColorJitter, GaussianBlur, ToGray",
    ),
    "big": Task(
        work="rrc", input="big", probe="probe-big", images=300,
        about="photos of 6.9 to 12 Mpx: RandomResizedCrop 224, flip, Normalize",
    ),
    "detection": Task(
        work="detection", input="cells", probe="probe-boxes", images=1400,
        about="640x480, boxes and masks: box-safe crop 640, flip, ColorJitter",
    ),
}  # fmt: skip

SMOKE = {
    "heavy": Task(
        work="heavy", input="tiny", probe="", images=64, about="tiny photos: heavy"
    ),
    "detection": Task(
        work="detection", input="tiny-cells", probe="", images=32,
        about="tiny photos: detection",
    ),
}  # fmt: skip
"""What ``--smoke`` runs: the whole way, in seconds."""
