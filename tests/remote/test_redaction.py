"""No credential of a URL is in an error, its causes, its traceback, or a log."""

import logging
import pickle
import traceback

import pytest
from faultserver import Faults, FaultServer

from fiberaug.errors import FiberAugError
from fiberaug.shards.fetching import NetPolicy, fetch, read_small, stat

pytestmark = pytest.mark.timeout(30)
QUICK = NetPolicy(connect_s=0.5, read_s=0.2, retries=1, stall_s=2, backoff_s=0.01)
LOOP = {"Location": "/a.tar?token=CANARY"}

FAULTS = {
    "absent": Faults(status=404),
    "forbidden": Faults(status=403),
    "busy": Faults(status=503),
    "asks for too long": Faults(status=429, headers={"Retry-After": "900"}),
    "reset": Faults(cut_always=10),
    "closed": Faults(cut_always=0, how="close"),
    "silent": Faults(cut_always=10, how="stall"),
    "encoded": Faults(encoding="gzip"),
    "redirects for ever": Faults(status=302, headers=LOOP),
    "redirects away": Faults(
        status=302, headers={"Location": "ftp://u:CANARY@h/x?s=CANARY"}
    ),
    "redirects to metadata": Faults(
        status=302, headers={"Location": "http://u:CANARY@169.254.169.254/?s=CANARY"}
    ),
    "redirects to no URL": Faults(
        status=302, headers={"Location": "http://u:CANARY@[h/?s=CANARY"}
    ),
}


def chain(error: BaseException | None) -> list[BaseException]:
    """An error with all its causes and contexts, also those that are not shown."""
    if error is None:
        return []
    return [error, *chain(error.__cause__), *chain(error.__context__)]


def check(caught: pytest.ExceptionInfo, caplog) -> None:
    for error in chain(caught.value):
        assert "CANARY" not in "".join(traceback.format_exception(error))
        assert "CANARY" not in repr(error) + repr(error.args) + repr(vars(error))
    assert b"CANARY" not in pickle.dumps(caught.value)
    for record in caplog.records:
        assert "CANARY" not in record.getMessage() + repr(record.args)
    assert "CANARY" not in caplog.text


@pytest.mark.parametrize("what", FAULTS)
def test_whatever_fails_no_credential_is_told(tmp_path, caplog, what):
    caplog.set_level(logging.DEBUG)
    with FaultServer() as server:
        server.serve("/a.tar", b"x" * 100, FAULTS[what])
        base = server.url("/a.tar").replace("http://", "http://me:CANARY@")
        url = f"{base}?X-Amz-Signature=CANARY&b=CANARY'CANARY#CANARY"
        for ask in (
            lambda: fetch(url, tmp_path / "a", policy=QUICK),
            lambda: read_small(url, most=1000, policy=QUICK),
        ):
            with pytest.raises(FiberAugError) as caught:
                ask()
            assert "127.0.0.1" in str(caught.value)
            check(caught, caplog)


def test_where_nobody_listens_or_no_host_is_no_credential_is_told(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with FaultServer() as server:
        gone = server.base.replace("http://", "http://me:CANARY@")
    for url in (
        f"{gone}/a.tar?s=CANARY",
        "http://me:CANARY@no-such-host.invalid/a.tar?s=CANARY",
        "http://me:CANARY@127.0.0.1:99999/a.tar?s=CANARY",
        "ssh://me:CANARY@host/a.tar?s=CANARY",
        "http://me:CANARY@host/a.tar?s=CANARY::zip://x",
        "http://me:CANARY@host/a.tar?s=CAN\nARY",
    ):
        with pytest.raises(FiberAugError) as caught:
            stat(url, policy=QUICK)
        check(caught, caplog)


def test_what_works_tells_none_either_and_foreign_logs_stay(tmp_path, caplog):
    import urllib3

    caplog.set_level(logging.DEBUG)
    policy = NetPolicy(retries=20, backoff_s=0.001, max_backoff_s=0.001)
    with FaultServer() as server:
        url = server.serve("/a.tar", b"x" * 100, Faults(status=503, first=2))
        fetch(f"{url}?s=CANARY", tmp_path / "a", policy=policy)
        assert "CANARY" not in caplog.text
        urllib3.PoolManager().request("GET", f"{url}?mine=1")
        assert "mine=1" in caplog.text


def test_a_long_wait_is_told_with_the_url_and_without_its_query(tmp_path, caplog):
    caplog.set_level(logging.INFO, "fiberaug")
    with FaultServer() as server:
        url = server.serve(
            "/a.tar", b"x", Faults(status=503, first=1, headers={"Retry-After": "5"})
        )
        fetch(f"{url}?s=CANARY", tmp_path / "a")
        assert f"waiting for {url}: the server answered 503" in caplog.text
        assert "CANARY" not in caplog.text
