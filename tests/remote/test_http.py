"""Objects over http: whole, each byte once, or an error within the bounds."""

import errno
import io
import os
import random
import resource
import signal
import stat as modes
import tarfile
import time

import pytest
from faultserver import Faults, FaultServer, faulty

from fiberaug.errors import LimitExceeded, SecurityRefused, StoreError
from fiberaug.shards.fetching import NetPolicy, exists, fetch, read_small, stat

pytestmark = pytest.mark.timeout(30)
QUICK = NetPolicy(
    connect_s=1, read_s=0.4, stall_s=2, rate_s=0.5, backoff_s=0.01, max_backoff_s=0.05
)


def made_shard(members: int = 400) -> bytes:
    """A tar of that many members of 200 to 7,000 bytes."""
    drawn = random.Random(4)
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for i in range(members):
            info = tarfile.TarInfo(f"{i:04d}.bin")
            info.size = drawn.randrange(200, 7000)
            tar.addfile(info, io.BytesIO(drawn.randbytes(info.size)))
    return file.getvalue()


SHARD = made_shard()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_an_error_at_once_with_status_and_url(tmp_path, status):
    with faulty(SHARD, Faults(status=status)) as server:
        url = server.url("/a.tar")
        for ask in (
            lambda: stat(url),
            lambda: fetch(url, tmp_path / "a"),
            lambda: read_small(url, most=10**9),
        ):
            with pytest.raises(StoreError, match=str(status)) as caught:
                ask()
            assert url in str(caught.value)
            absent = status in {404, 410}
            assert (caught.value.errno == errno.ENOENT) is absent
        # What HEAD is refused, GET may be allowed.
        assert len(server.requests) == (3 if absent else 4)
        assert (tmp_path / "a").stat().st_size == 0


def test_what_is_absent_does_not_exist_and_what_is_forbidden_is_not_known():
    with FaultServer() as server:
        server.serve("/there", b"x")
        server.serve("/hidden", b"x", Faults(status=403))
        assert exists(server.url("/there"))
        assert not exists(server.url("/absent"))
        with pytest.raises(StoreError):
            exists(server.url("/hidden"))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_that_recovers_is_waited_for(tmp_path, status):
    with faulty(SHARD, Faults(status=status, first=3)) as server:
        found = fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert (tmp_path / "a").read_bytes() == SHARD
        assert found.size == len(SHARD)
        assert len(server.requests) == 4


def test_a_server_that_does_not_recover_is_given_up_after_the_retries(tmp_path):
    with faulty(SHARD, Faults(status=500)) as server:
        with pytest.raises(StoreError, match="500"):
            fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert len(server.requests) == QUICK.retries + 1


def test_retry_after_is_kept_to_and_beyond_the_bound_an_error_at_once(tmp_path):
    again = Faults(status=503, first=1, headers={"Retry-After": "1"})
    with faulty(SHARD, again) as server:
        began = time.monotonic()
        fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert time.monotonic() - began >= 1
    never = Faults(status=429, headers={"Retry-After": "3600"})
    with faulty(SHARD, never) as server:
        with pytest.raises(StoreError, match="3600"):
            fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert len(server.requests) == 1


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("every", [20_000, 100_000, 314_159])
def test_what_breaks_off_goes_on_and_no_byte_comes_twice(tmp_path, how, every):
    cuts = list(range(every, len(SHARD), every))
    with faulty(SHARD, Faults(cuts=list(cuts), how=how)) as server:
        fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert (tmp_path / "a").read_bytes() == SHARD
        assert server.sent["/a.tar"] == len(SHARD)
        assert len(server.requests) == len(cuts) + 1
        assert all("If-Range" in request.headers for request in server.requests[1:])
    with tarfile.open(tmp_path / "a") as tar:
        assert len(tar.getnames()) == 400


@pytest.mark.parametrize("seed", range(5))
def test_breaks_at_random_bytes_cost_no_byte(tmp_path, seed):
    drawn = random.Random(seed)
    cuts = sorted(drawn.sample(range(1, len(SHARD)), 30))
    how = drawn.choice(["reset", "close"])
    with faulty(SHARD, Faults(cuts=cuts, how=how, length=seed != 4)) as server:
        seen = []
        if seed == 4:  # without a length only a reset shows that more is to come
            server.faults["/a.tar"].how = "reset"
        fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK, progress=seen.append)
        assert (tmp_path / "a").read_bytes() == SHARD
        assert server.sent["/a.tar"] == len(SHARD)
        assert seen == sorted(seen)
        assert seen[-1] == len(SHARD)


def test_a_server_that_falls_silent_in_the_middle_is_asked_again(tmp_path):
    with faulty(SHARD, Faults(cuts=[1000, 900_000], how="stall")) as server:
        fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert (tmp_path / "a").read_bytes() == SHARD
        assert server.sent["/a.tar"] == len(SHARD)


def test_a_server_that_stays_silent_is_an_error_within_the_bound(tmp_path):
    with faulty(SHARD, Faults(cut_always=70_000, how="stall")) as server:
        with pytest.raises(StoreError, match="no progress"):
            fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert (tmp_path / "a").stat().st_size == 70_000


def test_a_trickle_below_the_least_rate_is_an_error_within_the_bound(tmp_path):
    slow = Faults(bytes_per_s=400)
    with faulty(SHARD, slow) as server, pytest.raises(StoreError, match="bytes/s"):
        fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
    with faulty(SHARD, slow) as server, pytest.raises(StoreError, match="bytes/s"):
        read_small(server.url("/a.tar"), most=10**9, policy=QUICK)


def test_a_steady_rate_above_the_least_is_waited_for(tmp_path):
    with faulty(SHARD[:20_000], Faults(bytes_per_s=8000)) as server:
        fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert len(server.requests) == 1


def test_a_body_that_is_always_short_is_never_accepted(tmp_path):
    with faulty(SHARD, Faults(cut_always=700_000, how="close")) as server:
        with pytest.raises(StoreError, match=str(len(SHARD))):
            fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        with pytest.raises(StoreError):
            read_small(server.url("/a.tar"), most=10**9, policy=QUICK)


def test_without_a_length_the_orderly_end_is_the_end(tmp_path):
    with faulty(SHARD, Faults(length=False)) as server:
        found = fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert found.size == len(SHARD)
    # A cut that looks like the end: whoever knows the size is not fooled.
    with faulty(SHARD, Faults(length=False, cuts=[900_000], how="close")) as server:
        known = stat(server.url("/a.tar"), policy=QUICK)
        fetch(server.url("/a.tar"), tmp_path / "b", policy=QUICK, known=known)
        assert (tmp_path / "b").read_bytes() == SHARD


@pytest.mark.parametrize("faults", [Faults(ranges=False), Faults(tag=None)])
def test_where_nothing_can_go_on_it_begins_again_and_not_for_ever(tmp_path, faults):
    faults.cuts = [500_000, 600_000, 700_000]
    with faulty(SHARD, faults) as server:
        fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert (tmp_path / "a").read_bytes() == SHARD
    faults.cut_always = 500_000
    with faulty(SHARD, faults) as server:
        with pytest.raises(StoreError):
            fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert len(server.requests) < 12


@pytest.mark.parametrize("if_range", [True, False])
@pytest.mark.parametrize("tag", ["strong", "weak", None])
def test_an_object_that_changes_in_the_middle_is_never_a_mixture(
    tmp_path, if_range, tag
):
    other = SHARD[::-1]
    faults = Faults(cuts=[800_000], becomes=other, if_range=if_range, tag=tag)
    with faulty(SHARD, faults) as server:
        found = fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert (tmp_path / "a").read_bytes() == other
        assert found == stat(server.url("/a.tar"), policy=QUICK)


def test_an_object_of_another_size_than_was_known_is_an_error(tmp_path):
    with faulty(SHARD) as server:
        known = stat(server.url("/a.tar"))
        server.files["/a.tar"] = SHARD[:-512]
        with pytest.raises(StoreError, match="changed"):
            fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK, known=known)


def test_bytes_that_are_there_are_kept_where_the_version_is_known(tmp_path):
    with faulty(SHARD) as server:
        known = stat(server.url("/a.tar"))
        for there in (0, 1, 700_001, len(SHARD)):
            server.sent.clear()
            (tmp_path / "a").write_bytes(SHARD[:there])
            fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK, known=known)
            assert (tmp_path / "a").read_bytes() == SHARD
            assert server.sent["/a.tar"] == len(SHARD) - there
        (tmp_path / "a").write_bytes(b"of something else")
        fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert (tmp_path / "a").read_bytes() == SHARD
        (tmp_path / "a").write_bytes(SHARD + b"more")
        fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK, known=known)
        assert (tmp_path / "a").read_bytes() == SHARD


def test_bytes_of_an_older_version_are_not_kept(tmp_path):
    with faulty(SHARD) as server:
        known = stat(server.url("/a.tar"))
        (tmp_path / "a").write_bytes(SHARD[:500_000])
        server.files["/a.tar"] = SHARD[::-1]
        found = fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK, known=known)
        assert (tmp_path / "a").read_bytes() == SHARD[::-1]
        assert found.version != known.version


def test_an_empty_object_is_whole(tmp_path):
    with faulty(b"") as server:
        assert stat(server.url("/a.tar")).size == 0
        assert fetch(server.url("/a.tar"), tmp_path / "a").size == 0


def test_a_body_with_an_encoding_is_refused_since_its_bytes_are_others(tmp_path):
    with faulty(SHARD, Faults(encoding="gzip")) as server:
        with pytest.raises(StoreError, match="gzip"):
            fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert len(server.requests) == 1
        assert server.requests[0].headers["Accept-Encoding"] == "identity"


def test_a_small_object_is_read_whole_and_a_large_one_refused():
    with faulty(SHARD, Faults(cuts=[5])) as server:
        assert read_small(server.url("/a.tar"), most=len(SHARD), policy=QUICK) == SHARD
        server.sent.clear()
        with pytest.raises(LimitExceeded, match=str(len(SHARD) - 1)):
            read_small(server.url("/a.tar"), most=len(SHARD) - 1, policy=QUICK)
    with faulty(SHARD, Faults(length=False)) as server, pytest.raises(LimitExceeded):
        read_small(server.url("/a.tar"), most=1000, policy=QUICK)


def test_a_host_that_does_not_listen_is_an_error_within_the_bound(tmp_path):
    with FaultServer() as server:
        url = server.url("/a.tar")
    with pytest.raises(StoreError, match="no connection"):
        fetch(url, tmp_path / "a", policy=QUICK)


def test_the_file_is_private_and_never_another_that_a_link_names(tmp_path):
    with faulty(SHARD) as server:
        fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
        assert modes.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
        (tmp_path / "mine").write_bytes(b"mine")
        (tmp_path / "link").symlink_to(tmp_path / "mine")
        with pytest.raises(StoreError):
            fetch(server.url("/a.tar"), tmp_path / "link", policy=QUICK)
        assert (tmp_path / "mine").read_bytes() == b"mine"


def test_a_file_that_cannot_be_written_is_an_error_and_no_retry(tmp_path):
    with pytest.raises(StoreError, match="cannot write"):
        fetch("http://127.0.0.1:9/a.tar", tmp_path / "absent" / "a")
    with faulty(SHARD) as server:
        child = os.fork()
        if child == 0:  # the limit is a process's
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
            try:
                fetch(server.url("/a.tar"), tmp_path / "a", policy=QUICK)
            except StoreError as error:
                os._exit(0 if error.errno == errno.EFBIG else 2)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert len(server.requests) == 1


def test_a_forked_process_makes_its_own_connections(tmp_path):
    with faulty(SHARD) as server:
        stat(server.url("/a.tar"))
        child = os.fork()
        if child == 0:
            try:
                fetch(server.url("/a.tar"), tmp_path / "child", policy=QUICK)
                os._exit(0)
            finally:
                os._exit(1)
        fetch(server.url("/a.tar"), tmp_path / "parent", policy=QUICK)
        assert os.waitpid(child, 0)[1] == 0
        assert (tmp_path / "child").read_bytes() == SHARD
        assert (tmp_path / "parent").read_bytes() == SHARD


@pytest.mark.parametrize("retries", [-1, float("nan")])
def test_a_bound_out_of_range_is_refused(retries):
    with pytest.raises(ValueError, match="retries"):
        NetPolicy(retries=retries)


def test_a_host_that_is_not_allowed_is_not_asked(tmp_path):
    with faulty(SHARD) as server:
        for hosts in ((), ("example.org",), (".0.1x",)):
            policy = NetPolicy(allowed_hosts=hosts)
            with pytest.raises(SecurityRefused, match="allowed"):
                fetch(server.url("/a.tar"), tmp_path / "a", policy=policy)
        assert not server.requests
        fetch(
            server.url("/a.tar"),
            tmp_path / "a",
            policy=NetPolicy(allowed_hosts=("127.0.0.1",)),
        )
