"""The environment's hash names what pixels depend on, and differences are named."""

import json
import os
import subprocess
import sys

from fiberaug.augment.environment import environment, environment_differences

ASK = """
import json
from fiberaug.augment.environment import environment, environment_hash
print(json.dumps([environment(), environment_hash()]))
"""


def asked(**variables):
    done = subprocess.run(
        [sys.executable, "-c", ASK], env={**os.environ, **variables},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_the_hash_is_the_same_in_every_process_of_an_environment():
    first, second = asked(), asked()

    assert first == second
    assert first[0] == environment()
    assert all(isinstance(value, str) for value in first[0].values())


def test_a_processor_feature_that_is_off_is_another_environment():
    usual, name = asked(), "AVX2"
    if name not in usual[0]["opencv_cpu"]:
        name = "SSE4.1"
    without = asked(OPENCV_CPU_DISABLE=name)

    assert without[1] != usual[1]
    there = environment_differences(without[0])
    assert [line.split(":")[0] for line in there] == ["opencv_cpu"]
    ipp = asked(OPENCV_IPP="disabled")
    if usual[0]["opencv_ipp"] != "off":
        assert environment_differences(ipp[0])[0].startswith("opencv_ipp: off then")


def test_what_one_of_them_does_not_say_is_named_too():
    then = environment() | {"numpy": "1.26.0", "extra": "x"}
    del then["torch"]

    assert environment() != then
    assert environment_differences(environment()) == []
    assert [line.split(" ")[0] for line in environment_differences(then)] == [
        "extra:", "numpy:", "torch:",
    ]  # fmt: skip
