"""gs:// and hf:// through the real libraries; loopback stands for the services."""

import json
import os
import subprocess
import sys

import pytest
from faultserver import Faults, FaultServer

from fiberaug.errors import UsageError
from fiberaug.shards.fetching import NetPolicy, fetch, stat

pytestmark = pytest.mark.timeout(60)
DATA = bytes(range(256)) * 4000
QUICK = NetPolicy(connect_s=1, read_s=1, stall_s=5, backoff_s=0.01, max_backoff_s=0.1)


# gcsfs: no project is set, which only making buckets needs.
@pytest.mark.filterwarnings("ignore:GCS project not set")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_object_of_a_google_bucket_goes_on_in_the_generation_it_began_with(
    monkeypatch, tmp_path
):
    pytest.importorskip("gcsfs")
    import fsspec.config

    from fiberaug.shards import buckets

    monkeypatch.setattr(buckets, "_file_systems", {})
    path = "/download/storage/v1/b/photos/o/set%2Fa.tar"
    with FaultServer() as server:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.base)
        monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
        generation = {"x-goog-generation": "7"}
        server.serve(path, DATA, Faults(cuts=[1000, 700_000], headers=generation))
        found = fetch("gs://photos/set/a.tar", tmp_path / "a", policy=QUICK)
        assert (tmp_path / "a").read_bytes() == DATA
        assert found == stat("gs://photos/set/a.tar", policy=QUICK)
        asked = [r for r in server.asked(path) if r.method == "GET"]
        assert ["generation=7" in r.path for r in asked] == [False, True, True]
        assert server.sent[path] == len(DATA)


HUB = """
import sys
from pathlib import Path
from fiberaug.shards.fetching import NetPolicy, exists, fetch, list_folder, stat

quick = NetPolicy(retries=2, backoff_s=0.01)
folder = "hf://datasets/owner/photos"
found = fetch(folder + "/set/a.tar", Path(sys.argv[1]), policy=quick)
assert found == stat(folder + "/set/a.tar", policy=quick), found
assert not exists(folder + "/set/none.tar", policy=quick)
print(*list_folder(folder + "/set", policy=quick))
"""


def test_a_file_of_the_hub_goes_on_and_the_token_stays_with_the_hub(tmp_path):
    pytest.importorskip("huggingface_hub")
    api, base = "/api/datasets/owner/photos", "/datasets/owner/photos/resolve/main"
    with FaultServer() as hub, FaultServer() as store:
        far = store.serve("/blob", DATA, Faults(cuts=[1000, 700_000]))
        away = Faults(status=302, headers={"Location": far + "?sig=CANARY"})
        hub.serve(base + "/set/a.tar", b"", away)
        repository = {"id": "owner/photos", "sha": "0" * 40}
        hub.serve(api, json.dumps(repository).encode())
        hub.serve(api + "/revision/main", json.dumps(repository).encode())
        entry = {"type": "file", "path": "set/a.tar", "size": 5, "oid": "0" * 40}
        hub.serve(api + "/tree/main/set", json.dumps([entry]).encode())
        environment = {
            "HF_ENDPOINT": hub.base, "HF_TOKEN": "hf_TOKEN", "HF_HOME": str(tmp_path)
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", HUB, str(tmp_path / "a")],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["hf://datasets/owner/photos/set/a.tar"]
        assert (tmp_path / "a").read_bytes() == DATA
        assert store.sent["/blob"] == len(DATA)
        asked = hub.asked(base + "/set/a.tar")
        assert all(r.headers["authorization"] == "Bearer hf_TOKEN" for r in asked)
        assert not any("authorization" in r.headers for r in store.requests)
        assert "CANARY" not in done.stdout + done.stderr


def test_a_library_that_is_not_installed_is_named_with_its_extra():
    code = (
        "import sys; sys.modules['gcsfs'] = None\n"
        "from fiberaug.shards.fetching import stat\n"
        "stat('gs://photos/a.tar')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert UsageError.__name__ in done.stderr
    assert "pip install 'fiberaug[gs]'" in done.stderr


def test_the_package_loads_no_network_library_before_one_is_needed():
    code = (
        "import sys, fiberaug, fiberaug.shards.fetching\n"
        "names = ('urllib3', 's3fs', 'gcsfs', 'huggingface_hub', 'torch')\n"
        "sys.exit(any(name in sys.modules for name in names))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
