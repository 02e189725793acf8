"""The published JSON Schema of recipes, all sections together.

Editors complete and check recipes with it. ``python -m fiberaug.publishing`` writes
``fiberaug/schema/recipe.json``; run it after a change of the bounds, or with another
release of Albumentations or Kornia.
"""

import json
import os
from pathlib import Path
from typing import Any

from fiberaug.augment.schema import recipe_schema
from fiberaug.gpu.schema import gpu_schema
from fiberaug.mixes.building import mix_schemas
from fiberaug.recipe import MOST_OPERATIONS

__all__ = ["published_schema"]

_PATH = Path(__file__).parent / "schema" / "recipe.json"


def published_schema() -> dict[str, Any]:
    """Return the schema of recipes, see :mod:`fiberaug.augment.schema`."""
    gpu, definitions = gpu_schema()
    mixes = mix_schemas()
    batch = {
        "description": "Mixes of samples, in order.",
        "type": ["array", "null"],
        "maxItems": MOST_OPERATIONS,
        "items": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
            "properties": {name: {"$ref": f"#/$defs/batch.{name}"} for name in mixes},
        },
    }
    also = {f"batch.{name}": stated for name, stated in mixes.items()}
    return recipe_schema({"gpu": gpu, "batch": batch}, {**definitions, **also})


def _write() -> None:
    text = json.dumps(published_schema(), indent=1) + "\n"
    _PATH.parent.mkdir(exist_ok=True)
    temporary = _PATH.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(_PATH)


if __name__ == "__main__":
    _write()
