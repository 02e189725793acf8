"""Python code in a process of its own that may take little memory."""

import os
import subprocess
import sys
import textwrap

__all__ = ["MEMORY", "run_limited"]

MEMORY = 2**30
"""Bytes of address space."""

_BEFORE = """
import resource, sys
import cv2, numpy
from fiberaug.decode.sample import SampleDecoder
from fiberaug.decode.fields import parse_fields
from fiberaug.decode.header import ImageLimits
from fiberaug.errors import FiberAugError
from fiberaug.shards.reader import ShardFile, ShardRef
def peak_mib():
    # not ru_maxrss: that begins with what the parent had
    status = open("/proc/self/status").read()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024
resource.setrlimit(resource.RLIMIT_AS, ({memory}, {memory}))
"""


def run_limited(code: str, *arguments: object, memory: int = MEMORY) -> str:
    """Run code after the reader and the decoders were imported; return its output.

    Args:
        code: What to run; ``sys.argv[1:]`` are the arguments, and ``peak_mib()`` is
            the most memory that was resident.
        arguments: Paths and numbers.
        memory: Bytes of address space; what is above is a ``MemoryError`` or the end.
    """
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            _BEFORE.format(memory=memory) + textwrap.dedent(code),
            *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        # each thread of these libraries reserves address space of its own
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout
