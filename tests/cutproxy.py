"""A TCP proxy on loopback that resets connections after given numbers of bytes."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

__all__ = ["CutProxy"]


class CutProxy:
    """Passes bytes on to a port of this machine while the ``with`` block runs.

    Args:
        port: Where to.
        cut_after: Number of a connection -> bytes of answers after which it is reset;
            None: never.
    """

    def __init__(self, port: int, cut_after: Callable[[int], int | None]) -> None:
        self._target, self._cut_after = port, cut_after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.sent = 0
        """Bytes of answers that were passed on, headers included."""
        self.cuts = 0
        """Connections that were reset."""
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            bound = self._cut_after(number)
            number += 1
            for source, sink, most in ((client, server, None), (server, client, bound)):
                threading.Thread(
                    target=self._pass, args=(source, sink, most), daemon=True
                ).start()

    def _pass(
        self, source: socket.socket, sink: socket.socket, most: int | None
    ) -> None:
        answers, left = source.getpeername()[1] == self._target, most
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                part = data if left is None else data[:left]
                sink.sendall(part)
                self.sent += len(part) * answers
                if left is not None:
                    left -= len(part)
                    if left <= 0:
                        self.cuts += 1
                        linger = struct.pack("ii", 1, 0)
                        sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                        break
        # A close alone would wait for the other direction's recv.
        for end, how in ((source, socket.SHUT_RDWR), (sink, socket.SHUT_RD)):
            with contextlib.suppress(OSError):
                end.shutdown(how)
        sink.close()
