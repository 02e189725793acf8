"""urllib3's connections: one set for each process, proxy and nearness."""

from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from fiberaug.shards.addresses import check_address

__all__ = ["manager", "proxy_of"]

_managers: dict[tuple[int, int | None, str | None], urllib3.PoolManager] = {}


def proxy_of(url: str) -> str | None:
    """Return the proxy that the environment names for a URL (``HTTPS_PROXY`` ...)."""
    parts = urlsplit(url)
    proxies = getproxies_environment()
    if not proxies or proxy_bypass(parts.hostname or ""):
        return None
    found = proxies.get(parts.scheme) or proxies.get("all")
    return found if found is None or "://" in found else f"http://{found}"


def manager(pid: int, most: int | None, proxy: str | None) -> urllib3.PoolManager:
    """Return the connections of this process.

    Args:
        pid: This process. One forked from another may not use the other's.
        most: How near a host may be that a redirect led to; None: any.
        proxy: URL of the proxy; None: none.
    """
    found = _managers.get((pid, most, proxy))
    if found is None:
        # No lock: one that a thread held at a fork would stay held for ever.
        found = _managers.setdefault((pid, most, proxy), _make(most, proxy))
    return found


def _make(most: int | None, proxy: str | None) -> urllib3.PoolManager:
    options: dict[str, Any] = {"num_pools": 16, "maxsize": 8}
    if proxy is None:
        made = urllib3.PoolManager(**options)
        if most is not None:
            made.pool_classes_by_scheme = _guarded(most)
        return made
    user = urlsplit(proxy)
    if user.username is not None:
        words = f"{unquote(user.username)}:{unquote(user.password or '')}"
        options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=words)
    return urllib3.ProxyManager(proxy, **options)


def _check_peer(connection: HTTPConnection, most: int) -> None:
    # The name was looked up once before; what it is connected to now is what counts.
    if connection.sock is not None:
        try:
            address = connection.sock.getpeername()[0]
            check_address(address, most=most, shown=f"a redirect to {connection.host}")
        except BaseException:
            connection.close()
            raise


def _guarded(most: int) -> dict[str, type]:
    """Return pools whose connections look at whom they are connected to."""
    check = partial(_check_peer, most=most)

    class Connection(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            check(self)

    class SecureConnection(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            check(self)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": Pool, "https": SecurePool}
