"""One epoch over http from nginx, against the same shards in a folder.

The light recipe: RandomResizedCrop 224, flip, Normalize, batches of 64, 2 workers. A
remote epoch begins with an empty cache, so it fetches, checks and keeps every shard.
The two alternate; medians of wall time and of CPU-seconds (user and system of the
process and its workers, without nginx) are reported, and ratios pair by pair. Both must
deliver the same keys, and the bytes that nginx sent must be those of the files.
"""

import resource
import shutil
import socket
import statistics
import subprocess
import time

import albumentations as A
import pytest

import fiberaug

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
WORKERS = 2
BATCH = 64
CONFIG = """
daemon off; master_process off; error_log stderr error; pid {home}/nginx.pid;
events {{ worker_connections 64; }}
http {{
  log_format bytes '$body_bytes_sent';
  access_log {home}/access.log bytes;
  client_body_temp_path {home}; proxy_temp_path {home}; fastcgi_temp_path {home};
  uwsgi_temp_path {home}; scgi_temp_path {home};
  sendfile on;
  server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""


@pytest.fixture(scope="module")
def nginx(shards, tmp_path_factory):
    """A server of the folder; gives its URL and what counts the bytes it sent."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    home = tmp_path_factory.mktemp("nginx")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = home / "nginx.conf"
    config.write_text(CONFIG.format(home=home, folder=shards, port=port))
    process = subprocess.Popen([NGINX, "-p", str(home), "-c", str(config)])
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            time.sleep(0.05)
    log = home / "access.log"
    yield f"http://127.0.0.1:{port}", lambda: sum(map(int, log.read_text().split()))
    process.terminate()
    process.wait(10)


def _cpu_s():
    usage = [
        resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def _epoch(shards, cache):
    transform = A.Compose(
        [A.RandomResizedCrop((224, 224)), A.HorizontalFlip(), A.Normalize()]
    )
    cpu, wall = _cpu_s(), time.perf_counter()
    dataset = fiberaug.StreamingDataset(
        str(shards), transform=transform, cache_dir=cache
    )
    keys = []
    with fiberaug.DataLoader(dataset, BATCH, num_workers=WORKERS) as loader:
        for batch in loader:
            assert batch["image"].shape[1:] == (3, 224, 224)
            keys += batch["__key__"]
    return keys, len(keys) / (time.perf_counter() - wall), len(keys) / (_cpu_s() - cpu)


def bench_http_against_local(benchmark, shards, nginx, tmp_path):
    url, sent = nginx
    rounds = 1 if benchmark.disabled else 5
    rows = {"local": [], "http": []}

    def alternate():
        for number in range(rounds):
            rows["local"].append(_epoch(shards, None))
            rows["http"].append(_epoch(url, tmp_path / str(number)))

    benchmark.pedantic(alternate, rounds=1)
    assert len({tuple(keys) for part in rows.values() for keys, _, _ in part}) == 1
    stored = sum(path.stat().st_size for path in shards.iterdir())
    share = sent() / rounds / stored
    assert share <= 1.05
    for name, part in rows.items():
        for unit, place in (("images_per_s", 1), ("images_per_cpu_s", 2)):
            figure = statistics.median(row[place] for row in part)
            benchmark.extra_info[f"{name}_{unit}"] = round(figure, 1)
            print(f"\n{name}: {figure:.0f} {unit}")
    for what, place in (("wall", 1), ("cpu", 2)):
        ratios = [
            http[place] / local[place]
            for http, local in zip(rows["http"], rows["local"], strict=True)
        ]
        ratio = statistics.median(ratios)
        benchmark.extra_info[f"ratio_{what}_median"] = round(ratio, 3)
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"http / local, {what}: {ratio:.2f} ({spread})")
    benchmark.extra_info["bytes_sent_over_stored"] = round(share, 4)
    print(f"bytes sent over bytes of the files: {share:.4f}")
