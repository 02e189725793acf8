"""Laws of the schema: what can be built is valid, and names and bounds are said."""

import json

import jsonschema
import pytest
from kornia_cases import build, every_case

from fiberaug.errors import UsageError
from fiberaug.gpu.building import build_gpu, own_operations
from fiberaug.gpu.layouts import LAYOUTS
from fiberaug.gpu.schema import gpu_schema
from fiberaug.gpu.spec import spec_of

SECTION, DEFINITIONS = gpu_schema()
VALIDATOR = jsonschema.Draft202012Validator({**SECTION, "$defs": DEFINITIONS})


def test_the_schema_is_one_and_is_json():
    VALIDATOR.check_schema(VALIDATOR.schema)
    assert json.loads(json.dumps(VALIDATOR.schema)) == VALIDATOR.schema
    names = {*LAYOUTS, *own_operations(), "ImageSequential"}
    assert DEFINITIONS.keys() == {f"gpu.{name}" for name in names}


def test_every_case_is_valid():
    for name, arguments in every_case():
        VALIDATOR.validate([spec_of(build(name, arguments))])
    for name, kind in own_operations().items():
        VALIDATOR.validate([{name: None}, spec_of(kind())])
    VALIDATOR.validate(
        [
            {
                "ImageSequential": {
                    "random_apply": [0, 1],
                    "transforms": [{"RandomHue": {}}],
                }
            }
        ]
    )


@pytest.mark.parametrize(
    "section",
    [
        [{"RandomHues": {}}],
        [{"RandomHue": {}, "Resize": {}}],
        [{"Resize": None}],
        [{"Resize": {"size": 0}}],
        [{"Resize": {"size": [9, 20000]}}],
        [{"Resize": {"size": [9, 9], "resample": "cubic"}}],
        [{"RandomHue": {"p": "1"}}],
        [{"RandomHue": {"p": True}}],
        [{"RandomHue": {"hue": [0.1, 0.2, 0.3]}}],
        [{"RandomAffine": {"degrees": None}}],
        [{"RandAugment": {"num_op": 3}}],
        [{"ImageSequential": {"random_apply": 1, "transforms": []}}],
        [{"ImageSequential": {"transforms": [{"RandomHue": {}}]}}],
    ],
    ids=str,
)
def test_what_is_not_valid_cannot_be_built(section):
    assert not VALIDATOR.is_valid(section)
    with pytest.raises(UsageError):
        build_gpu(section)
