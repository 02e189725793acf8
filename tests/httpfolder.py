"""A folder over http on loopback: ranges, versions, counted bytes, cuts on request."""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

__all__ = ["HttpFolder"]


class HttpFolder:
    """Serves a folder while the ``with`` block runs.

    Args:
        folder: The folder.
        cut_after: (path, number of the request) -> bytes of a body after which the
            connection is closed; None: never.
        length: Whether a body's length is announced.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        cut_after: Callable[[str, int], int | None] | None = None,
        length: bool = True,
    ) -> None:
        self.folder, self.cut_after, self.length = Path(folder), cut_after, length
        self.sent: Counter[str] = Counter()
        """Bytes of bodies by path."""
        self.gets: Counter[str] = Counter()
        """GET requests by path."""
        self.status: dict[str, int] = {}
        """Paths that are answered with an error."""
        self.hold = threading.Event()
        """Bodies wait in the middle until it is set."""
        self.hold.set()
        self.held = threading.Event()
        """Set when a body waits."""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                owner.answer(self, body=False)

            def do_GET(self) -> None:
                owner.answer(self, body=True)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        """URL of the folder, without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        name = urlsplit(request.path).path.lstrip("/")
        self.gets[name] += body
        path = self.folder / name
        status = self.status.get(name, 200 if path.is_file() else 404)
        if status != 200:
            request.send_response(status)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        data = path.read_bytes()
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        first = 0
        asked = request.headers.get("Range", "")
        if asked and self.length and request.headers.get("If-Range", tag) == tag:
            low, _, high = asked.removeprefix("bytes=").partition("-")
            first, end = int(low), int(high) + 1 if high else len(data)
            part = data[first:end]
            request.send_response(206)
            request.send_header(
                "Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(data)}"
            )
            data = part
        else:
            request.send_response(200)
        request.send_header("ETag", tag)
        if self.length:
            request.send_header("Content-Length", str(len(data)))
        else:
            request.send_header("Connection", "close")
        request.end_headers()
        if body:
            self._send(request, name, data)
        request.close_connection |= not self.length

    def _send(self, request: BaseHTTPRequestHandler, name: str, data: bytes) -> None:
        cut = self.cut_after(name, self.gets[name]) if self.cut_after else None
        whole, data = len(data), data if cut is None else data[:cut]
        try:
            if not self.hold.is_set():
                request.wfile.write(data[: len(data) // 2])
                request.wfile.flush()
                self.sent[name] += len(data) // 2
                self.held.set()
                self.hold.wait()
                data = data[len(data) // 2 :]
            request.wfile.write(data)
            request.wfile.flush()
            self.sent[name] += len(data)
        except OSError:
            request.close_connection = True
        if cut is not None and cut < whole:
            request.close_connection = True
