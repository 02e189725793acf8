"""A real nginx on loopback that serves a folder: for tests and benchmarks."""

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

__all__ = ["NGINX", "Nginx"]

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
"""The program, or None where it is not installed."""

_CONFIG = """
daemon off;
master_process off;
pid {home}/pid;
error_log {home}/error.log;
events {{ worker_connections 128; }}
http {{
    access_log {home}/access.log;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    sendfile on;
    server {{
        listen 127.0.0.1:{port};
        location / {{ root {folder}; }}
    }}
}}
"""


class Nginx:
    """Serves a folder while the ``with`` block runs.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder).absolute()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])

    @property
    def url(self) -> str:
        """Address of the folder, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        """Start, and wait until it answers."""
        if NGINX is None:
            raise FileNotFoundError("nginx is not installed")
        self._temporary = tempfile.TemporaryDirectory()
        self._home = Path(self._temporary.name)
        config = self._home / "nginx.conf"
        config.write_text(
            _CONFIG.format(home=self._home, port=self.port, folder=self._folder)
        )
        self._process = subprocess.Popen(
            [NGINX, "-p", str(self._home), "-c", str(config), "-e", "stderr"],
            stderr=subprocess.DEVNULL,
        )
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                break
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._process.terminate()
        self._process.wait()
        self._temporary.cleanup()
