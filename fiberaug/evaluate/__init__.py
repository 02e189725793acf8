"""Does it help? Metrics, copy detectors and probes on the user's own features.

Every name is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fiberaug.evaluate.cas import classification_accuracy_score
    from fiberaug.evaluate.copies import closer_to_train, near_copies
    from fiberaug.evaluate.extracting import features
    from fiberaug.evaluate.frechet import frechet_distance
    from fiberaug.evaluate.kernels import kid
    from fiberaug.evaluate.lookalikes import equal_pixels, look_alikes
    from fiberaug.evaluate.manifolds import density_coverage, precision_recall
    from fiberaug.evaluate.metrics import Metrics, measure
    from fiberaug.evaluate.probing import probe
    from fiberaug.evaluate.tables import Features

__all__ = [
    "Features",
    "Metrics",
    "classification_accuracy_score",
    "closer_to_train",
    "density_coverage",
    "equal_pixels",
    "features",
    "frechet_distance",
    "kid",
    "look_alikes",
    "measure",
    "near_copies",
    "precision_recall",
    "probe",
]

_HOMES = {
    "cas": ("classification_accuracy_score",),
    "copies": ("closer_to_train", "near_copies"),
    "extracting": ("features",),
    "frechet": ("frechet_distance",),
    "kernels": ("kid",),
    "lookalikes": ("equal_pixels", "look_alikes"),
    "manifolds": ("density_coverage", "precision_recall"),
    "metrics": ("Metrics", "measure"),
    "probing": ("probe",),
    "tables": ("Features",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401  # whatever the name stands for
    if name not in __all__:
        raise AttributeError(f"module 'fiberaug.evaluate' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"fiberaug.evaluate.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
