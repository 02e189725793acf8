"""An HTTP server on loopback that breaks off, stalls, lies and redirects as told."""

import hashlib
import http.client
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

__all__ = ["FaultServer", "Faults", "Request", "faulty"]

_CHUNK = 1 << 16


@dataclass
class Faults:
    """What goes wrong with one path. The default: nothing."""

    status: int | None = None
    """This status instead of an answer ..."""

    first: int | None = None
    """... in so many first requests; None: in all."""

    headers: dict[str, str] = field(default_factory=dict)
    """Sent with every answer, that one too: Retry-After, Location."""

    cuts: list[int] = field(default_factory=list)
    """Bytes of the object before which the connection breaks off, each of them once."""

    cut_always: int | None = None
    """Byte before which every connection breaks off."""

    how: str = "reset"
    """How it breaks off: reset, close, stall (silence)."""

    becomes: bytes | None = None
    """Content after the first break."""

    bytes_per_s: float | None = None
    """Rate."""

    flip: int | None = None
    """Byte whose lowest bit is turned."""

    length: bool = True
    """Whether Content-Length is sent; else the connection's end is the body's."""

    ranges: bool = True
    """Whether Range is honoured."""

    if_range: bool = True
    """Whether If-Range is honoured."""

    tag: str | None = "strong"
    """ETag: strong, weak, None, or a text of its own."""

    encoding: str | None = None
    """Content-Encoding that is claimed."""


@dataclass(frozen=True)
class Request:
    """A request that came."""

    method: str
    path: str
    """With its query."""

    headers: dict[str, str]


class FaultServer:
    """A server whose ``files`` go wrong as its ``faults`` say, by path.

    Args:
        upstream: ``host:port`` of a server to pass requests on to. None: ``files``.
        tls: Certificate and key to serve https with.
    """

    def __init__(
        self, *, upstream: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, Faults] = {}
        self.requests: list[Request] = []
        self.sent: Counter[str] = Counter()
        """Bytes of bodies, by path."""
        self.upstream = upstream
        self.ended = threading.Event()
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self.base = f"{'http' if tls is None else 'https'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    def url(self, path: str) -> str:
        """URL of a path such as ``/a.tar``."""
        return self.base + path

    def serve(self, path: str, content: bytes, faults: Faults | None = None) -> str:
        """Serve a content; gives its URL."""
        self.files[path] = content
        self.faults[path] = faults or Faults()
        return self.url(path)

    def asked(self, path: str) -> list[Request]:
        """Requests for a path."""
        return [r for r in self.requests if r.path.partition("?")[0] == path]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a client that goes away is part of the play


class _Handler(BaseHTTPRequestHandler):
    owner: FaultServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    do_PUT = do_DELETE = do_POST  # noqa: N815  # http.server's names

    def _answer(self) -> None:
        owner, path = self.owner, self.path.partition("?")[0]
        if path.startswith("http://"):  # asked as a proxy
            path = "/" + path.split("/", 3)[3]
        headers = dict(self.headers.items())
        with owner.lock:
            owner.requests.append(Request(self.command, self.path, headers))
            faults = owner.faults.get(path) or Faults()
            failing = faults.status is not None and (
                faults.first is None or faults.first > 0
            )
            if failing and faults.first is not None:
                faults.first -= 1
        if failing:
            self._status(faults.status, faults.headers)
        elif owner.upstream is not None:
            self._pass_on(path, faults)
        elif path not in owner.files:
            self._status(404, {})
        else:
            self._file(path, faults)

    def _status(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _pass_on(self, path: str, faults: Faults) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        upstream = http.client.HTTPConnection(self.owner.upstream, timeout=30)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        self.send_response(answer.status)
        length = str(len(content))
        start = 0
        for name, value in answer.getheaders():
            if name.lower() in {"connection", "transfer-encoding"}:
                continue
            if name.lower() == "content-length":
                length = value  # that of a HEAD is the object's
                continue
            if name.lower() == "content-range":
                start = int(value.split()[1].partition("-")[0])
            self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        self._body(path, faults, content, start, start + len(content))

    def _file(self, path: str, faults: Faults) -> None:
        content = self.owner.files[path]
        tag = {"strong": "", "weak": "W/"}.get(faults.tag or "")
        digest = hashlib.sha256(content).hexdigest()[:16]
        tag = faults.tag if tag is None else f'{tag}"{digest}"'
        start, end = 0, len(content)
        asked = self.headers.get("Range")
        same = self.headers.get("If-Range") in {None, tag} or not faults.if_range
        partial = bool(asked) and faults.ranges and same
        if partial:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start = int(first)
            end = min(end, int(last) + 1) if last else end
            if start >= len(content):
                self._status(416, {"Content-Range": f"bytes */{len(content)}"})
                return
        self.send_response(206 if partial else 200)
        if partial:
            span = f"bytes {start}-{end - 1}/{len(content)}"
            self.send_header("Content-Range", span)
        if tag is not None:
            self.send_header("ETag", tag)
        for name, value in faults.headers.items():
            self.send_header(name, value)
        if faults.encoding is not None:
            self.send_header("Content-Encoding", faults.encoding)
        if faults.length:
            self.send_header("Content-Length", str(end - start))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        self._body(path, faults, content[start:end], start, end)
        self.close_connection = self.close_connection or not faults.length

    def _body(
        self, path: str, faults: Faults, content: bytes, start: int, end: int
    ) -> None:
        if self.command == "HEAD":
            return
        stop = None
        with self.owner.lock:
            due = [cut for cut in faults.cuts if start < cut < end]
            if due:
                stop = min(due)
                faults.cuts.remove(stop)
        if faults.cut_always is not None and start < end:
            always = max(start, min(faults.cut_always, end))
            if always < end:
                stop = always if stop is None else min(stop, always)
        if faults.flip is not None and start <= faults.flip < end:
            at = faults.flip - start
            content = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        self._send(path, content[: end if stop is None else stop - start], faults)
        if stop is not None:
            if faults.becomes is not None:
                self.owner.files[path] = faults.becomes
                faults.becomes = None
            self._break(faults.how)

    def _send(self, path: str, content: bytes, faults: Faults) -> None:
        rate = faults.bytes_per_s
        size = _CHUNK if rate is None else max(1, int(rate / 20))
        for at in range(0, len(content), size):
            if rate is not None and self.owner.ended.wait(0.05):
                return
            part = content[at : at + size]
            with self.owner.lock:  # before: the client may be done right behind it
                self.owner.sent[path] += len(part)
            self.wfile.write(part)

    def _break(self, how: str) -> None:
        self.close_connection = True
        if how == "stall":
            self.owner.ended.wait()
        elif how == "reset":
            self.wfile.flush()
            _await_sent(self.connection)
            self.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self.connection.close()


def _await_sent(connection: socket.socket) -> None:
    """Wait until the client's kernel has all bytes: a reset discards the others."""
    import fcntl

    for _ in range(1000):
        left = fcntl.ioctl(connection.fileno(), 0x5411, b"\0" * 4)  # SIOCOUTQ
        if left == b"\0" * 4:
            return
        time.sleep(0.001)


@contextmanager
def faulty(content: bytes, faults: Faults | None = None) -> Iterator[FaultServer]:
    """A server with one object, ``/a.tar``."""
    with FaultServer() as server:
        server.serve("/a.tar", content, faults)
        yield server
