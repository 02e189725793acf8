"""Memory that was freed is there again, without the system clearing it once more."""

import json
import platform
import subprocess
import sys
import textwrap

import pytest

from fiberaug.allocator import keep_freed_memory

CODE = """
    import json, resource, sys
    import numpy as np
    from fiberaug.allocator import keep_freed_memory

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            for size in (21_000_000, 9_000_000, 30_000_000):
                np.empty(size, np.uint8)[::4096] = 1
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    usual = faults()
    can = keep_freed_memory()
    faults()
    print(json.dumps([usual, can, faults()]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_images_of_a_worker_come_from_memory_that_is_there():
    command = [sys.executable, "-c", textwrap.dedent(CODE)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    usual, can, kept = json.loads(done.stdout)
    assert can
    assert usual > 10 * 60_000_000 / 4096 / 600, "huge pages at least"
    assert kept < usual / 10


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr("fiberaug.allocator.ctypes.CDLL", lambda _name: object())
    assert not keep_freed_memory()
