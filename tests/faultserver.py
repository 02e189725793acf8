"""An HTTP server on loopback that fails as it is told: for tests of remote shards."""

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

__all__ = ["Asked", "Fault", "FaultServer"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with one request."""

    status: int | None = None
    """Answer this, without a body."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent beside the others."""

    reset: int | None = None
    """Reset the connection (RST) after so many bytes of the body."""

    close: int | None = None
    """Close it after so many bytes."""

    stall: int | None = None
    """Send nothing any more after so many bytes, until the server ends."""

    flip: int | None = None
    """Change this byte of the object."""

    slow: float | None = None
    """Bytes a second."""

    no_length: bool = False
    """Say no length; the body ends with the connection."""

    no_range: bool = False
    """Send the whole object whatever is asked."""

    tag: str | None = None
    """ETag instead of the object's own; empty: none."""


@dataclass(kw_only=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: str
    range: str
    headers: Mapping[str, str]
    sent: int = 0
    """Bytes of the body."""


class FaultServer:
    """Serves objects from memory with ranges, strong ETags and faults.

    Args:
        objects: Content by path, such as ``/a.tar``.
        fault: (number of the request, from 0; method; path) -> what goes wrong.
    """

    def __init__(
        self,
        objects: Mapping[str, bytes],
        fault: Callable[[int, str, str], Fault | None] = lambda *_: None,
    ) -> None:
        self.objects = dict(objects)
        self.fault = fault
        self.asked: list[Asked] = []
        self.over = threading.Event()
        self.lock = threading.Lock()
        self._count = 0
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}
        )

    @property
    def url(self) -> str:
        """Address of the server, without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def sent(self, path: str | None = None) -> int:
        """Return the bytes of bodies that were sent."""
        return sum(a.sent for a in self.asked if path is None or a.path == path)

    def number(self) -> int:
        """Return the number of the request that comes now."""
        with self.lock:
            self._count += 1
            return self._count - 1

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, stalled requests too."""
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultServer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Answer a HEAD."""
        self._answer(body=False)

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        owner, parts = self.owner, urlsplit(self.path)
        fault = owner.fault(owner.number(), self.command, parts.path) or Fault()
        wanted = self.headers.get("Range", "")
        note = Asked(
            method=self.command, path=parts.path, query=parts.query, range=wanted,
            headers=dict(self.headers),
        )  # fmt: skip
        owner.asked.append(note)
        content = owner.objects.get(parts.path)
        status = fault.status or (200 if content is not None else 404)
        if fault.status or content is None:
            self.send_response(status)
            for name, value in fault.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            owner.asked.append(Asked(*note, 0, dict(self.headers)))
            return
        tag = (
            f'"{sha256(content).hexdigest()[:16]}"' if fault.tag is None else fault.tag
        )
        start, end = 0, len(content)
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
        same = self.headers.get("If-Range", tag) == tag
        if found and same and not fault.no_range:
            start = int(found[1])
            end = min(end, int(found[2]) + 1) if found[2] else end
            status = 206 if start < len(content) else 416
        self.send_response(status)
        if tag:
            self.send_header("ETag", tag)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        if fault.no_length:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(max(0, end - start)))
        self.end_headers()
        if body:
            self._send(content, start, end, fault, note)

    def _send(
        self, content: bytes, start: int, end: int, fault: Fault, note: Asked
    ) -> None:
        if fault.flip is not None:
            data = bytearray(content)
            data[fault.flip] ^= 1
            content = bytes(data)
        cuts = [c for c in (fault.reset, fault.close, fault.stall) if c is not None]
        stop = min([end, *(start + cut for cut in cuts)])
        at, step = start, 65_536 if fault.slow is None else max(1, int(fault.slow / 10))
        while at < stop:
            piece = content[at : min(stop, at + step)]
            note.sent += len(piece)
            try:
                self.wfile.write(piece)
                self.wfile.flush()
            except OSError:
                break
            at += len(piece)
            if fault.slow is not None and self.owner.over.wait(len(piece) / fault.slow):
                break
        if at < end and cuts:
            if fault.stall is not None:
                self.owner.over.wait()
            if fault.reset is not None:
                time.sleep(0.01)  # a reset would overtake the bytes on their way
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.close_connection = True
            self.connection.close()

    def finish(self) -> None:
        """Let go of the connection, which a fault may have closed."""
        try:
            super().finish()
        except (OSError, ValueError):
            return
