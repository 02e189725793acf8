"""A main process that is killed leaves no process, no shared memory, no file."""

import json
import os
import subprocess
import sys
import tempfile
import textwrap

import pytest
from namespaces import needs_mount, with_own_shm
from sets import photo

import fiberaug

# Runs in a namespace with an empty /dev/shm of its own, and an empty folder for
# temporary files: what is there in the end was left by the main process.
GUARD = textwrap.dedent("""
    import json, os, random, subprocess, sys, time
    from pathlib import Path
    import psutil

    main = subprocess.Popen([sys.executable, *sys.argv[1:]], stdout=subprocess.PIPE)
    main.stdout.readline()
    time.sleep(random.random())
    family = psutil.Process(main.pid).children(recursive=True)
    main.kill()
    main.wait()
    _, left = psutil.wait_procs(family, timeout=10)
    time.sleep(0.5)
    print(json.dumps({
        "processes": len(family), "alive": [p.cmdline() for p in left],
        "shm": os.listdir("/dev/shm"), "temporary": os.listdir(os.environ["TMPDIR"]),
    }))
    for process in left:
        process.kill()
""")

MAIN = textwrap.dedent("""
    import sys, fiberaug

    if __name__ == "__main__":
        dataset = fiberaug.StreamingDataset(sys.argv[1])
        loader = fiberaug.DataLoader(
            dataset, 4, num_workers=2, multiprocessing_context=sys.argv[2],
            log=sys.argv[3], persistent_workers=True,
        )
        kept = []
        for epoch in range(100_000):
            for batch in loader:
                kept = [*kept[-3:], batch]
                if epoch == 1:
                    print("running", flush=True)
""")


@pytest.mark.timeout(180)
@needs_mount
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_nothing_is_left_of_a_main_process_that_is_killed(tmp_path, method):
    rows = ({"__key__": f"k{i:02d}", "image": photo(i, 200, 300)} for i in range(40))
    fiberaug.convert(rows, tmp_path / "set", progress=False)
    (tmp_path / "main.py").write_text(MAIN)
    # A short path: sockets are made in it, whose paths have 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="left-") as temporary:
        answer = subprocess.run(
            with_own_shm("1g", [
                sys.executable, "-c", GUARD, str(tmp_path / "main.py"),
                str(tmp_path / "set"), method, str(tmp_path / "log"),
            ]),
            check=True, stdout=subprocess.PIPE, text=True, timeout=160,
            env={**os.environ, "TMPDIR": temporary},
        )  # fmt: skip
    figures = json.loads(answer.stdout)
    assert figures["processes"] >= 2
    assert figures["alive"] == []
    assert figures["shm"] == []
    assert figures["temporary"] == []


RANK = textwrap.dedent("""
    import json, multiprocessing, os, sys
    from multiprocessing.util import get_temp_dir

    import fiberaug

    def rank(shards, pipe):
        loader = fiberaug.DataLoader(
            fiberaug.StreamingDataset(shards), 4, num_workers=2,
            multiprocessing_context="fork",
        )
        next(iter(loader))
        pipe.send([child.pid for child in multiprocessing.active_children()])
        pipe.recv()

    if __name__ == "__main__":
        import psutil

        folder = get_temp_dir()  # of the launcher: other ranks use it, too
        context = multiprocessing.get_context(sys.argv[2])
        ours, theirs = context.Pipe()
        process = context.Process(target=rank, args=(sys.argv[1], theirs))
        process.start()
        workers = [psutil.Process(pid) for pid in ours.recv()]
        process.kill()
        process.join()
        _, left = psutil.wait_procs(workers, timeout=10)
        print(json.dumps({"alive": len(left), "folder": os.path.isdir(folder)}))
""")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_killed_rank_leave_the_folder_of_its_launcher(tmp_path, method):
    rows = ({"__key__": f"k{i:02d}", "image": photo(i, 20, 30)} for i in range(20))
    fiberaug.convert(rows, tmp_path / "set", progress=False)
    (tmp_path / "rank.py").write_text(RANK)
    answer = subprocess.run(
        [sys.executable, str(tmp_path / "rank.py"), str(tmp_path / "set"), method],
        check=True, stdout=subprocess.PIPE, text=True, timeout=50,
    )  # fmt: skip
    assert json.loads(answer.stdout) == {"alive": 0, "folder": True}
