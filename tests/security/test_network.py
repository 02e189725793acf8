"""Nothing goes online that was not asked to: import, convert, index, stream, replay."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

WATCH = """
    import json, sys
    seen = []

    def watch(event, arguments):
        if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
            address = arguments[1]
            if isinstance(address, tuple):
                seen.append([event, str(address)])
        elif event in {"socket.getaddrinfo", "socket.gethostbyname",
                       "urllib.Request", "http.client.connect"}:
            seen.append([event, str(arguments[0])])
        elif event in {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen"}:
            seen.append([event, str(arguments[0])])

    sys.addaudithook(watch)
"""
WORK = """
    from pathlib import Path
    import numpy as np
    import cv2

    root = Path(sys.argv[1])
    (root / "photos/cat").mkdir(parents=True)
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 48, 3), np.uint8)
        cv2.imwrite(str(root / f"photos/cat/{i}.jpg"), pixels)

    import fiberaug
    for name in fiberaug.__all__:
        getattr(fiberaug, name)
    import albumentations as A
    from fiberaug.jobs.indexing import index_shards
    from fiberaug.jobs.verifying import verify

    fiberaug.convert(root / "photos", root / "set", workers=2, progress=False)
    index_shards(str(root / "set"), progress=False)
    assert verify(str(root / "set"), decode=True, progress=False).problems == []
    dataset = fiberaug.StreamingDataset(
        str(root / "set"), transform=A.Compose([A.HorizontalFlip(p=0.5)])
    )
    for num_workers in (0, 2):
        loader = fiberaug.DataLoader(
            dataset, 2, num_workers=num_workers, log=root / f"run{num_workers}"
        )
        batches = list(loader)
        assert len(batches) == 3
        fiberaug.replay(batches[0]["record"][0], loader)
        loader.close()
    fiberaug.replay(batches[0]["record"][0], root / "run2")
    print(json.dumps(seen))
"""
PROBE = """
    import socket
    try:
        socket.getaddrinfo("host.invalid", 80)
    except OSError:
        pass
    print(json.dumps(seen))
"""


def watched(code, folder):
    # as a user has it: nothing is set that keeps a library from going online
    environment = {k: v for k, v in os.environ.items() if "ALBUMENTATIONS" not in k}
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(WATCH + code), folder],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    return json.loads(process.stdout.splitlines()[-1])


@pytest.mark.timeout(120)
def test_a_whole_run_asks_no_name_and_connects_to_nobody(tmp_path):
    assert watched(WORK, str(tmp_path)) == []


def test_the_watch_sees_who_asks(tmp_path):
    assert watched(PROBE, str(tmp_path)) == [["socket.getaddrinfo", "host.invalid"]]
