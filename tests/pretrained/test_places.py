"""Where a model is: a folder, or a commit of the Hub that was fetched."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from shutil import copytree
from typing import ClassVar

import pytest

from fiberaug.errors import SecurityRefused, StoreError, UsageError
from fiberaug.pretrained.cards import licence_of
from fiberaug.pretrained.folders import load_pipeline
from fiberaug.pretrained.places import find_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def as_cached(base, cache):
    """Lay a model down as the Hub's cache does: files once, links from the commit."""
    root = cache / "models--me--tiny"
    folder, blobs = root / "snapshots" / COMMIT, root / "blobs"
    blobs.mkdir(parents=True)
    copytree(base, folder)
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if path.is_file():
            moved = path.rename(blobs / f"{number:064x}")
            path.symlink_to(os.path.relpath(moved, path.parent))
    return folder


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:12], COMMIT.upper()])
def test_a_revision_that_can_change_is_refused_with_why(revision):
    with pytest.raises(
        UsageError, match=r"hash of a commit, 40 hex digits.*can change"
    ):
        find_folder("me/tiny", revision=revision, download=True)


def test_an_id_without_a_revision_says_what_is_missing():
    with pytest.raises(UsageError, match="download=True and revision="):
        find_folder("me/tiny")
    with pytest.raises(UsageError, match="there is no such folder"):
        find_folder("no such/folder/at all")


def test_a_folder_takes_no_revision(base):
    assert find_folder(base) == base
    with pytest.raises(UsageError, match="are for an id of the Hub"):
        find_folder(base, revision=COMMIT)


def test_what_was_fetched_before_is_opened_without_a_socket(base, cache):
    folder = as_cached(base, cache)
    assert find_folder("me/tiny", revision=COMMIT) == folder
    assert load_pipeline("me/tiny", revision=COMMIT).unet is not None
    with pytest.raises(StoreError, match="download=True fetches it"):
        find_folder("me/other", revision=COMMIT)


def test_a_link_out_of_the_cache_is_refused(base, cache, tmp_path):
    folder = as_cached(base, cache)
    (tmp_path / "secret.json").write_text("{}")
    (folder / "unet" / "more.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(SecurityRefused, match="leads out"):
        load_pipeline("me/tiny", revision=COMMIT)


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as a download of one commit needs."""

    folder = None
    asked: ClassVar[list] = []

    def log_message(self, *args):
        """Say nothing."""

    def do_HEAD(self):
        self.do_GET(body=False)

    def do_GET(self, *, body=True):
        type(self).asked.append(self.path)
        if self.path.startswith("/api/"):
            paths = [one for one in sorted(self.folder.rglob("*")) if one.is_file()]
            tree = [
                {
                    "type": "file", "path": one.relative_to(self.folder).as_posix(),
                    "size": one.stat().st_size, "oid": "0" * 40,
                }
                for one in paths
            ]  # fmt: skip
            files = [{"rfilename": one["path"]} for one in tree]
            whole = {"id": "me/tiny", "sha": COMMIT, "siblings": files}
            content = json.dumps(tree if "/tree/" in self.path else whole)
            return self._send(content.encode(), body)
        name = self.path.partition(f"/resolve/{COMMIT}/")[2].partition("?")[0]
        path = self.folder / name
        if not name or not path.is_file():
            return self.send_error(404)
        return self._send(path.read_bytes(), body)

    def _send(self, content, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hash(content) & (2**64 - 1):016x}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(content)


@pytest.fixture
def hub(base, tmp_path, monkeypatch):
    from huggingface_hub import constants

    folder = copytree(base, tmp_path / "served")
    (folder / "evil.py").write_text("raise SystemExit")
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"pickled")
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"16")
    handler = type("Served", (Hub,), {"folder": folder, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE",
        f"http://127.0.0.1:{server.server_port}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
    )  # fmt: skip
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_weights_and_configs_are_fetched_and_nothing_else(hub, cache):
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        pytest.skip("HF_HUB_OFFLINE is set")
    folder = find_folder("me/tiny", revision=COMMIT, download=True)
    fetched = {path.name for path in folder.rglob("*") if path.is_file()}

    assert load_pipeline("me/tiny", revision=COMMIT).unet is not None
    assert {"model_index.json", "README.md"} < fetched
    assert not {"evil.py", "diffusion_pytorch_model.bin"} & fetched
    assert not any("fp16" in name for name in fetched)
    assert not any("evil" in path for path in hub.asked)


@pytest.mark.parametrize(
    ("card", "licence"),
    [("---\nlicense: mit\n---\n# It", "mit"),
     ("---\nlicense: other\nlicense_name: stability-nc\n---\n", "stability-nc"),
     ("# It\nlicense: mit\n", None), ("---\nlicense: [1\n---\n", None),
     ("---\nlicense: mit\n", None), ("---\n- a\n---\n", None)],
)  # fmt: skip
def test_a_licence_is_what_the_head_of_the_card_states(tmp_path, card, licence):
    (tmp_path / "README.md").write_text(card)
    assert licence_of(tmp_path) == licence


def test_without_a_card_there_is_no_licence(tmp_path):
    assert licence_of(tmp_path) is None
