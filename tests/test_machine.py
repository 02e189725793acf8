"""Laws of what the machine lends: the nearest limit counts, a lack has a remedy."""

import multiprocessing
import os
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest

from fiberaug.machine import (
    check_cuda,
    check_files,
    check_memory,
    check_shared,
    check_start,
    files_needed,
    look,
    memory_needed,
    shared_needed,
)

GB = 10**9
MEMINFO = "MemTotal: 64000000 kB\nMemFree: 1 kB\nMemAvailable: 48000000 kB\n"


@pytest.fixture
def machine_of(tmp_path):
    """A function {file: text} -> what is read from such a /proc and /sys."""

    def look_at(files, meminfo=MEMINFO):
        for name, text in {"proc/meminfo": meminfo, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return look(tmp_path)

    return look_at


def test_this_machine_is_seen_as_the_interpreter_sees_it():
    here = look()

    assert 0 < here.available <= here.memory
    assert 0 < here.cpus <= len(os.sched_getaffinity(0))
    assert 0 < here.files[0] <= here.files[1]
    assert 0 <= here.shm[1] <= here.shm[0]


def test_affinity_counts():
    code = """
        import os
        from fiberaug.machine import look
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(look().cpus)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"1.0\n"


def test_without_control_groups_the_machine_is_the_limit(machine_of):
    found = machine_of({})

    assert (found.memory, found.available) == (64_000_000 * 1024, 48_000_000 * 1024)
    assert not found.grouped


def test_the_nearest_limit_of_version_2_counts_and_its_cache_is_free(machine_of):
    group = "sys/fs/cgroup/pods/one"
    found = machine_of(
        {
            "proc/self/cgroup": "0::/pods/one\n",
            "sys/fs/cgroup/pods/memory.max": f"{20 * GB}\n",
            "sys/fs/cgroup/pods/memory.current": f"{15 * GB}\n",
            "sys/fs/cgroup/pods/memory.stat": "anon 1\n",
            f"{group}/memory.max": f"{8 * GB}\n",
            f"{group}/memory.current": f"{5 * GB}\n",
            f"{group}/memory.stat": f"anon 7\ninactive_file {1 * GB}\n",
            f"{group}/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/pods/cpu.max": "max 100000\n",
        }
    )

    assert (found.memory, found.available, found.cpus) == (8 * GB, 4 * GB, 0.5)
    assert found.grouped


def test_version_1_has_other_names_and_a_number_for_no_limit(machine_of):
    found = machine_of(
        {
            "proc/self/cgroup": "4:memory:/a\n1:cpu,cpuacct:/a\n0::/\n",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{4 * GB}\n",
            "sys/fs/cgroup/memory/a/memory.usage_in_bytes": f"{3 * GB}\n",
            "sys/fs/cgroup/memory/a/memory.stat": f"total_inactive_file {GB}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1\n",
            "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "25000\n",
            "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        }
    )

    assert (found.memory, found.available, found.cpus) == (4 * GB, 2 * GB, 0.25)


def test_in_a_container_the_mounted_root_is_its_own_group(machine_of):
    found = machine_of(
        {
            "proc/self/cgroup": "0::/docker/that/is/not/here\n",
            "sys/fs/cgroup/memory.max": f"{2 * GB}\n",
            "sys/fs/cgroup/memory.current": f"{GB}\n",
        }
    )

    assert (found.memory, found.available) == (2 * GB, GB)


def test_a_machine_that_says_nothing_is_no_reason_to_stop(tmp_path):
    found = look(tmp_path)

    assert (found.memory, found.available, found.shm) == (None, None, None)
    assert check_memory(found, 10**18) is check_shared(found, 10**18) is None


def test_batches_need_shared_memory_with_a_name_only_where_there_is_no_other(
    monkeypatch,
):
    sizes = {"prefetch": 2, "batch_bytes": 10}
    assert shared_needed(workers=3, **sizes) == 0
    files = files_needed(workers=50, prefetch=2, open_shards=1)
    monkeypatch.delattr(os, "memfd_create")
    assert shared_needed(workers=3, **sizes) == 80
    assert shared_needed(workers=0, **sizes) == 0
    assert files_needed(workers=50, prefetch=2, open_shards=1) > files + 100


def test_batches_that_travel_are_those_asked_for_and_two_more():
    assert memory_needed(workers=3, prefetch=2, batch_bytes=10) == 80 + 60
    assert memory_needed(workers=0, prefetch=2, batch_bytes=10) == 20


def test_files_grow_with_shards_in_a_worker_and_with_batches_in_the_loop():
    few = files_needed(workers=2, prefetch=2, open_shards=1)
    assert files_needed(workers=2, prefetch=2, open_shards=128) > few
    assert files_needed(workers=64, prefetch=8, open_shards=1) > few


def test_each_lack_is_told_with_both_numbers_and_the_remedy():
    small = replace(look(), shm=(64 * 2**20, 2**20), available=GB, files=(64, 128))

    shared = check_shared(small, 48 * 2**20)
    memory = check_memory(replace(small, grouped=True), 2 * GB)
    files = check_files(small, 300)

    assert "50.3 MB" in shared
    assert "1.0 MB free of 67.1 MB" in shared
    assert "--shm-size=60m" in shared
    assert "2.0 GB of memory, the control group has 1.0 GB left" in memory
    assert "300 open files, at most 128" in files
    assert "ulimit -Hn 300" in files


def test_what_fits_is_not_told():
    large = replace(look(), shm=(GB, GB), available=GB, files=(64, 1024))

    assert check_shared(large, GB) is check_memory(large, GB) is None
    assert check_files(large, 1024) is None  # the soft limit can be raised


def test_a_start_that_fits_has_nothing_to_say():
    assert check_start(workers=2, prefetch=2, batch_bytes=10**6) == []


def test_a_start_that_does_not_fit_says_everything_at_once(monkeypatch):
    monkeypatch.delattr(os, "memfd_create")
    found = check_start(workers=10**6, prefetch=10, batch_bytes=10**9)

    assert [word in line for word, line in zip(
        ("--shm-size", "of memory", "open files"), found, strict=True
    )] == [True] * 3  # fmt: skip


def test_the_limit_of_open_files_is_the_process_s_own():
    code = """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
        from fiberaug.machine import check_start, look
        print(look().files, check_start(workers=1, prefetch=2)[0])
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("(100, 200) a process needs up to 320 open files")


def test_cuda_that_is_not_in_use_stops_no_fork():
    assert check_cuda("fork") is None


@pytest.mark.gpu
def test_a_fork_after_cuda_is_told():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.zeros(1, device="cuda")

    assert "forkserver" in check_cuda("fork")
    assert check_cuda("spawn") is None
    assert (check_cuda() is None) == (multiprocessing.get_start_method() != "fork")
