"""Memory that was freed is there again, without the system clearing it once more."""

import json
import platform
import subprocess
import sys
import textwrap

import pytest

from fiberaug.allocator import give_back_freed_memory, keep_freed_memory

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

GIVEN_BACK = """
    import json
    import numpy as np
    from fiberaug.allocator import give_back_freed_memory

    class Cycle:
        def __init__(self, size):
            self.own, self.pixels = self, np.ones(size, np.uint8)

    def held():
        with open("/proc/self/status") as lines:
            return next(int(one.split()[1]) for one in lines if "VmData" in one)

    np.ones(30_000_000, np.uint8)  # from here on glibc keeps what is smaller
    before = held()
    for _ in range(3):
        Cycle(20_000_000)
    kept = held() - before
    give_back_freed_memory()
    given = held() - before
    first, second = np.ones(20_000_000, np.uint8), np.ones(20_000_000, np.uint8)
    del first  # a hole below the second, on a heap
    print(json.dumps([kept, given, held() - before]))
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
    give_back_freed_memory()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_what_a_failed_attempt_left_goes_back_to_the_system_and_stays_there():
    command = [sys.executable, "-c", textwrap.dedent(GIVEN_BACK)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    kept, given, later = json.loads(done.stdout)
    assert kept > 15_000, "KiB: three cycles, or their holes"
    assert given < 1_000
    assert later < 21_000, "arrays come and go by themselves from now on"
