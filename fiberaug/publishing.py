"""The published JSON Schemas of recipes, all sections together, and of provenance.

Editors complete and check recipes with it. ``python -m fiberaug.publishing`` writes
``fiberaug/schema/recipe.json`` and ``provenance.json``; run it after a change of the
bounds or fields, or with another release of Albumentations or Kornia.
"""

import json
from pathlib import Path
from typing import Any

from fiberaug.augment.schema import recipe_schema
from fiberaug.files import write_atomically
from fiberaug.gpu.schema import gpu_schema
from fiberaug.mixes.building import mix_schemas
from fiberaug.recipe import MOST_OPERATIONS
from fiberaug.synthetic.provenance import Provenance
from fiberaug.synthetic.stating import own_schema

__all__ = ["provenance_schema", "published_schema"]

_FOLDER = Path(__file__).parent / "schema"


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


def provenance_schema() -> dict[str, Any]:
    """Return the schema of the provenance of a synthetic sample."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:fiberaug:provenance:1",
        "title": "FiberAug provenance",
        "description": (
            "How a synthetic sample was made: the entry provenance of its .json member."
        ),
        **own_schema(Provenance),
    }


def _write(name: str, schema: dict[str, Any]) -> None:
    _FOLDER.mkdir(exist_ok=True)
    text = json.dumps(schema, indent=1) + "\n"
    write_atomically(_FOLDER / f"{name}.json", text.encode())


if __name__ == "__main__":
    _write("recipe", published_schema())
    _write("provenance", provenance_schema())
