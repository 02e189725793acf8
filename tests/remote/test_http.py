"""Objects over http: whole and once whatever the server does, or an error."""

import errno
import gzip
import time
import traceback

import pytest
from faultserver import Fault, FaultServer

from fiberaug.errors import FiberAugError, LimitExceeded, SecurityRefused, StoreError
from fiberaug.shards.fetching import NetPolicy, Remote, fetch, read_small, stat

pytestmark = pytest.mark.timeout(30)

DATA = bytes(range(256)) * 4000  # 1,024,000 bytes
QUICK = NetPolicy(
    connect_s=1, read_s=0.4, retries=4, stall_s=5, min_bytes_per_s=2000, rate_s=0.5,
    backoff_s=0.01, max_backoff_s=0.05,
)  # fmt: skip


def fetched(server, tmp_path, *, path="/a.tar", policy=QUICK, **options):
    """Return the bytes that a fetch leaves, and what it returns."""
    target = tmp_path / "object.part"
    remote = fetch(server.url + path, target, policy=policy, **options)
    return target.read_bytes(), remote


def serving(fault=lambda *_: None, data=DATA):
    return FaultServer({"/a.tar": data}, fault)


def first(count, fault):
    """Return a rule by which the first ``count`` requests go wrong."""
    return lambda number, *_: fault if number < count else None


def test_an_object_comes_whole_with_its_size_and_version(tmp_path):
    with serving() as server:
        content, remote = fetched(server, tmp_path)
        assert content == DATA
        assert remote == stat(server.url + "/a.tar", policy=QUICK)
        assert remote.size == len(DATA)
        assert remote.version.startswith('"')


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451])
def test_a_refusal_is_an_error_at_once_and_names_status_and_url(tmp_path, status):
    with serving(lambda *_: Fault(status=status)) as server:
        started = time.monotonic()
        with pytest.raises(StoreError, match=f"answered {status}") as caught:
            fetched(server, tmp_path)
        assert f"{server.url}/a.tar" in str(caught.value)
        assert len(server.asked) == 1
        assert time.monotonic() - started < 5
        assert (caught.value.errno == errno.ENOENT) == (status in {404, 410})


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_that_recovers_is_waited_for(tmp_path, status):
    with serving(first(3, Fault(status=status))) as server:
        content, _ = fetched(server, tmp_path)
        assert content == DATA
        assert len(server.asked) == 4


def test_a_server_that_does_not_recover_is_an_error_within_the_bound(tmp_path):
    with serving(lambda *_: Fault(status=503)) as server:
        with pytest.raises(StoreError, match=r"503.*5 attempts .* without progress"):
            fetched(server, tmp_path)
        assert len(server.asked) == 1 + QUICK.retries


def test_retry_after_is_obeyed_and_beyond_the_bound_is_an_error(tmp_path):
    with serving(first(1, Fault(status=503, headers={"Retry-After": "1"}))) as server:
        started = time.monotonic()
        assert fetched(server, tmp_path)[0] == DATA
        assert time.monotonic() - started >= 1
    with serving(
        lambda *_: Fault(status=503, headers={"Retry-After": "999"})
    ) as server:
        with pytest.raises(StoreError, match="503"):
            fetched(server, tmp_path)
        assert len(server.asked) == 1


@pytest.mark.parametrize("kind", ["reset", "close", "stall"])
@pytest.mark.parametrize("step", [50_000, 333_333])
def test_what_breaks_off_goes_on_there_and_no_byte_comes_twice(tmp_path, kind, step):
    with serving(lambda *_: Fault(**{kind: step})) as server:
        content, _ = fetched(server, tmp_path)
        assert content == DATA
        if kind != "reset":  # what a reset overtakes is lost on the way
            assert len(server.asked) == -(-len(DATA) // step)
            assert server.sent() == len(DATA)
        assert server.sent() <= 1.05 * len(DATA)
        conditions = [asked.headers.get("If-Range") for asked in server.asked[1:]]
        assert all(conditions)


@pytest.mark.parametrize("after", [0, 500, 900_000])
def test_a_server_that_stalls_for_good_is_an_error_within_the_bound(tmp_path, after):
    started = time.monotonic()
    with (
        serving(lambda n, *_: Fault(stall=after if n == 0 else 0)) as server,
        pytest.raises(StoreError, match="without progress"),
    ):
        fetched(server, tmp_path)
    assert time.monotonic() - started < QUICK.stall_s + 5


def test_a_server_that_trickles_is_an_error_within_the_bound(tmp_path):
    started = time.monotonic()
    with (
        serving(lambda *_: Fault(slow=700)) as server,
        pytest.raises(StoreError, match=r"bytes/s, at least 2000 are needed"),
    ):
        fetched(server, tmp_path)
    assert time.monotonic() - started < QUICK.stall_s + 5


def test_a_slow_server_above_the_least_rate_is_not_disturbed(tmp_path):
    with serving(lambda *_: Fault(slow=9000), DATA[:20_000]) as server:
        assert fetched(server, tmp_path)[0] == DATA[:20_000]
        assert len(server.asked) == 1


def test_a_body_shorter_than_announced_is_never_accepted(tmp_path):
    with (
        serving(lambda *_: Fault(close=0)) as server,
        pytest.raises(StoreError, match="without progress"),
    ):
        fetched(server, tmp_path)


def test_an_object_without_a_length_comes_whole(tmp_path):
    with serving(lambda *_: Fault(no_length=True)) as server:
        content, remote = fetched(server, tmp_path)
        assert content == DATA
        assert remote.size == len(DATA)


def test_a_server_that_ignores_ranges_is_asked_from_the_start_again(tmp_path):
    def fault(number, *_):
        return Fault(no_range=True, close=600_000 if number < 2 else None)

    with serving(fault) as server:
        assert fetched(server, tmp_path)[0] == DATA
        assert server.sent() == len(DATA) + 1_200_000


def test_a_server_that_ignores_ranges_and_never_ends_is_an_error(tmp_path):
    with (
        serving(lambda *_: Fault(no_range=True, close=600_000)) as server,
        pytest.raises(StoreError, match="can not go on in the middle"),
    ):
        fetched(server, tmp_path)


def test_an_object_that_changes_on_the_way_is_fetched_anew_as_a_whole(tmp_path):
    other = DATA[::-1]

    def fault(number, *_):
        if number == 1:
            server.objects["/a.tar"] = other
        return Fault(close=400_000) if number == 0 else None

    with serving(fault) as server:
        content, remote = fetched(server, tmp_path)
        assert content == other
        assert remote == stat(server.url + "/a.tar", policy=QUICK)


def test_an_object_that_is_not_what_the_run_began_with_is_an_error(tmp_path):
    with serving() as server:
        known = stat(server.url + "/a.tar", policy=QUICK)
        server.objects["/a.tar"] = DATA[::-1]
        with pytest.raises(StoreError, match="changed since the run began"):
            fetched(server, tmp_path, known=known)


def test_without_a_version_nothing_is_joined(tmp_path):
    def fault(number, *_):
        return Fault(tag="", close=400_000 if number == 0 else None)

    with serving(fault) as server:
        assert fetched(server, tmp_path)[0] == DATA
        assert [asked.range for asked in server.asked] == ["", ""]


def test_bytes_of_an_earlier_attempt_are_kept_where_the_version_is_known(tmp_path):
    with serving() as server:
        known = stat(server.url + "/a.tar", policy=QUICK)
        (tmp_path / "object.part").write_bytes(DATA[:700_000])
        content, _ = fetched(server, tmp_path, known=known)
        assert content == DATA
        assert server.sent() == len(DATA) - 700_000
        (tmp_path / "object.part").write_bytes(b"x" * 2_000_000)
        assert fetched(server, tmp_path, known=known)[0] == DATA
        (tmp_path / "object.part").write_bytes(b"x" * 10)
        assert fetched(server, tmp_path)[0] == DATA


def test_progress_is_told_up_to_the_whole_size(tmp_path):
    told = []
    with serving(lambda *_: Fault(close=300_000)) as server:
        fetched(server, tmp_path, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == len(DATA)


def test_nothing_is_unpacked_on_the_way(tmp_path):
    packed = gzip.compress(DATA)
    fault = Fault(headers={"Content-Encoding": "gzip"})
    with serving(lambda *_: fault, packed) as server:
        assert fetched(server, tmp_path)[0] == packed


def test_a_small_object_is_read_whole_and_a_large_one_refused(tmp_path):
    with serving(first(1, Fault(close=100))) as server:
        url = server.url + "/a.tar"
        assert read_small(url, most=len(DATA), policy=QUICK) == DATA
        with pytest.raises(LimitExceeded, match="more than 1000 bytes"):
            read_small(url, most=1000, policy=QUICK)
        with pytest.raises(StoreError) as caught:
            read_small(server.url + "/none", most=1000, policy=QUICK)
        assert caught.value.errno == errno.ENOENT


def test_a_host_that_is_not_there_is_an_error_within_the_bound(tmp_path):
    with serving() as server:
        url = server.url
    with pytest.raises(StoreError, match="no connection"):
        fetch(f"{url}/a.tar", tmp_path / "part", policy=QUICK)


def test_size_and_version_come_without_head_where_it_is_refused():
    def fault(_number, method, _path):
        return Fault(status=403) if method == "HEAD" else None

    with serving(fault) as server:
        remote = stat(server.url + "/a.tar", policy=QUICK)
        assert remote.size == len(DATA)
        assert server.sent() == 1


def redirecting(target):
    """Return a rule by which everything but ``/b.tar`` redirects."""
    return lambda _n, _m, path: (
        None if path == "/b.tar" else Fault(status=302, headers={"Location": target})
    )


def test_a_redirect_within_http_is_followed(tmp_path):
    with FaultServer({"/b.tar": DATA}, redirecting("/b.tar")) as server:
        assert fetched(server, tmp_path)[0] == DATA


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("file:///etc/hostname", "not http"),
        ("ftp://127.0.0.1/x", "not http"),
        ("http://169.254.169.254/latest/meta-data/", "where clouds keep credentials"),
        ("http://[fe80::1]/x", "where clouds keep credentials"),
        ("http://[::ffff:169.254.169.254]/x", "where clouds keep credentials"),
    ],
)
def test_a_redirect_to_where_no_shard_lies_is_refused(tmp_path, target, words):
    with FaultServer({}, redirecting(target)) as server:
        with pytest.raises(SecurityRefused, match=words):
            fetched(server, tmp_path)
        assert len(server.asked) == 1


def test_redirects_in_a_circle_end(tmp_path):
    with FaultServer({}, redirecting("/a.tar")) as server:
        with pytest.raises(StoreError, match="more than 5 times"):
            fetched(server, tmp_path)
        assert len(server.asked) == 6


def test_a_host_that_is_not_allowed_is_not_asked(tmp_path):
    policy = NetPolicy(allowed_hosts=("data.example.org",))
    with serving() as server:
        with pytest.raises(SecurityRefused, match="not among the allowed"):
            fetched(server, tmp_path, policy=policy)
        assert not server.asked


def test_user_and_password_go_to_their_host_alone(tmp_path):
    with (
        FaultServer({"/b.tar": DATA}) as other,
        FaultServer({"/a.tar": DATA}) as server,
    ):
        away = redirecting(other.url.replace("127.0.0.1", "localhost") + "/b.tar")
        url = server.url.replace("http://", "http://me:pass%40word@")
        fetch(url + "/a.tar", tmp_path / "one", policy=QUICK)
        assert server.asked[0].headers["authorization"] == "Basic bWU6cGFzc0B3b3Jk"
        server.fault = away
        fetch(url + "/a.tar", tmp_path / "two", policy=QUICK)
        assert "authorization" not in {k.lower() for k in other.asked[0].headers}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=404),
        Fault(status=503),
        Fault(close=0),
        Fault(stall=0),
        Fault(status=302, headers={"Location": "file:///CANARY?CANARY"}),
        Fault(status=302, headers={"Location": "/loop?token=CANARY"}),
    ],
)
def test_no_credential_is_in_any_error_traceback_or_log(tmp_path, caplog, fault):
    caplog.set_level("DEBUG", "fiberaug")
    with serving(lambda *_: fault) as server:
        base = server.url.replace("http://", "http://me:CANARY@")
        url = f"{base}/a.tar?X-Amz-Signature=CANARY&x=CANARY#CANARY"
        for work in (
            lambda: fetch(url, tmp_path / "part", policy=QUICK),
            lambda: read_small(url, most=10, policy=QUICK),
        ):
            with pytest.raises(FiberAugError) as caught:
                work()
            assert "CANARY" not in str(caught.value).replace("file:///CANARY", "")
            shown = caught.value.with_traceback(None)
            text = "".join(traceback.format_exception(shown))
            assert "CANARY" not in text.replace("file:///CANARY", "")
    assert "CANARY" not in caplog.text


def test_a_known_size_without_a_version_is_checked(tmp_path):
    with serving() as server:
        known = Remote(size=10, version="")
        content, remote = fetched(server, tmp_path, known=known)
        assert len(content) == remote.size == len(DATA)
