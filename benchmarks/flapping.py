"""A web server of a folder that is away every few seconds and cuts answers short.

    python benchmarks/flapping.py FOLDER --period 10 --away 2 --cut 0.02

It prints its port. For ``--away`` of every ``--period`` seconds it answers 503, and a
share ``--cut`` of the other answers ends with a reset in the middle. It knows ranges,
If-Range and strong ETags, and counts the bytes it sent in ``FOLDER/.sent``.
"""

import argparse
import random
import re
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Flapping(ThreadingHTTPServer):
    """Serves the files of a folder, now and then."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, asked: argparse.Namespace) -> None:
        super().__init__(("127.0.0.1", asked.port), Answer)
        self.folder, self.asked = asked.folder.resolve(), asked
        self.random = random.Random(asked.seed)
        self.sent = 0
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: broken connections are what it is for."""

    def away(self) -> bool:
        """Return whether the server is away now."""
        return time.monotonic() % self.asked.period < self.asked.away

    def count(self, size: int) -> None:
        """Count bytes that were sent."""
        with self.lock:
            self.sent += size
            (self.folder / ".sent").write_text(str(self.sent))


class Answer(BaseHTTPRequestHandler):
    """One answer."""

    protocol_version = "HTTP/1.1"
    server: Flapping
    timeout = 30

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Answer without a body."""
        self._answer(body=False)

    def do_GET(self) -> None:
        """Answer."""
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.server.folder / Path(self.path.split("?")[0]).name
        if self.server.away():
            self._refuse(503)
            return
        if not path.is_file():
            self._refuse(404)
            return
        data = path.read_bytes()
        tag = f'"{path.stat().st_mtime_ns:x}-{len(data):x}"'
        first, last = 0, len(data)
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match and self.headers.get("If-Range", tag) == tag:
            first = int(match[1])
            last = min(last, int(match[2]) + 1) if match[2] else last
            if first >= len(data):
                self._refuse(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(last - first))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", tag)
        self.end_headers()
        if body:
            self._send(memoryview(data)[first:last])

    def _send(self, content: memoryview) -> None:
        if self.server.random.random() < self.server.asked.cut:
            cut = self.server.random.randrange(max(1, len(content)))
            self.wfile.write(content[:cut])
            self.server.count(cut)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.connection.close()
            self.close_connection = True
            return
        self.wfile.write(content)
        self.server.count(len(content))

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--period", type=float, default=10.0, help="seconds")
    parser.add_argument("--away", type=float, default=2.0, help="seconds of a period")
    parser.add_argument("--cut", type=float, default=0.02, help="share of the answers")
    parser.add_argument("--seed", type=int, default=0)
    with Flapping(parser.parse_args()) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
