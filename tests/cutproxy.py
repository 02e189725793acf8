"""A proxy on loopback that breaks connections off after so many bytes: for tests."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

__all__ = ["CutProxy"]


class CutProxy:
    """Passes bytes between its clients and a server.

    Args:
        port: Of the server, on loopback.
        cut: Number of the connection, from 0 -> bytes of the server after which it is
            reset; None: never.
    """

    def __init__(self, port: int, cut: Callable[[int], int | None]) -> None:
        self._port, self._cut = port, cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.passed = 0
        """Bytes that the server sent, headers included."""

        self.connections = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        """Start."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._open += [client, server]
            number, self.connections = self.connections, self.connections + 1
            left = self._cut(number)
            for source, sink, most in ((client, server, None), (server, client, left)):
                threading.Thread(
                    target=self._pass, args=(source, sink, most), daemon=True
                ).start()

    def _pass(
        self, source: socket.socket, sink: socket.socket, most: int | None
    ) -> None:
        with suppress(OSError):
            while data := source.recv(4096 if most is None else min(4096, most)):
                sink.sendall(data)
                if source.getpeername()[1] == self._port:
                    self.passed += len(data)
                if most is not None:
                    most -= len(data)
                    if most <= 0:
                        sink.setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                        )
                        break
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
