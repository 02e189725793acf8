"""Objects behind a real nginx, with connections that break off at random bytes."""

import os
import random

import pytest
from faultserver import Faults, FaultServer
from nginxserver import NGINX, Nginx

from fiberaug.errors import StoreError
from fiberaug.shards.fetching import NetPolicy, fetch, stat

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
]
QUICK = NetPolicy(
    connect_s=1, read_s=0.1, stall_s=20, backoff_s=0.01, max_backoff_s=0.1
)


@pytest.mark.parametrize("seed", range(3))
def test_an_object_comes_whole_and_once_however_often_it_breaks_off(tmp_path, seed):
    drawn = random.Random(seed)
    data = drawn.randbytes(4_000_000)
    (tmp_path / "a.tar").write_bytes(data)
    cuts = drawn.sample(range(1, len(data)), 40)
    with (
        Nginx(tmp_path) as server,
        FaultServer(upstream=f"127.0.0.1:{server.port}") as before,
    ):
        faults = before.faults["/a.tar"] = Faults(
            cuts=cuts, how=["reset", "close", "stall"][seed]
        )
        url = before.url("/a.tar")
        found = fetch(url, tmp_path / "part", policy=QUICK)
        assert (tmp_path / "part").read_bytes() == data
        assert not faults.cuts
        assert before.sent["/a.tar"] == len(data)
        assert len(before.requests) == 41
        assert found == stat(url, policy=QUICK)


def test_a_file_that_is_replaced_in_the_middle_is_never_a_mixture(tmp_path):
    old, new = (random.Random(seed).randbytes(2_000_000) for seed in (1, 2))
    (tmp_path / "a.tar").write_bytes(old)
    (tmp_path / "b.tar").write_bytes(new)
    os.utime(tmp_path / "a.tar", (1, 1))

    def replace(count):
        if count > 700_000 and (tmp_path / "b.tar").exists():
            (tmp_path / "b.tar").replace(tmp_path / "a.tar")

    with (
        Nginx(tmp_path) as server,
        FaultServer(upstream=f"127.0.0.1:{server.port}") as before,
    ):
        before.faults["/a.tar"] = Faults(cuts=[800_000])
        url = before.url("/a.tar")
        fetch(url, tmp_path / "part", policy=QUICK, progress=replace)
    assert (tmp_path / "part").read_bytes() == new


def test_what_is_absent_or_a_folder_is_an_error_at_once(tmp_path):
    (tmp_path / "folder").mkdir()
    with Nginx(tmp_path) as server:
        with pytest.raises(StoreError, match="404"):
            stat(server.url + "/a.tar")
        with pytest.raises(StoreError, match="403"):
            stat(server.url + "/folder/")
