"""A Hub on loopback: repositories, preuploads, LFS, commits, downloads; and its faults.

It speaks as much of the API as ``huggingface_hub`` asks of it to create a repository,
send a folder and fetch it again, and it keeps every request that came.
"""

import base64
import hashlib
import json
import re
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

__all__ = ["TOKEN", "HubServer", "Request"]

TOKEN = "hf_CanaryThatNobodyMaySeeAnywhere0123456"  # noqa: S105  # of this server alone
_REGULAR = (".json", ".md", ".txt", ".csv", ".gitattributes")


@dataclass(frozen=True)
class Request:
    """A request that came."""

    method: str
    path: str
    headers: dict
    size: int


@dataclass
class Repo:
    """A repository: by branch, its files; and the commits that were made."""

    private: bool
    branches: dict = field(default_factory=lambda: {"main": {}})
    commits: list = field(default_factory=list)

    def sha(self, branch):
        told = json.dumps([branch, len(self.commits)]).encode()
        return hashlib.sha1(told, usedforsecurity=False).hexdigest()


class HubServer:
    """Serves until it is left; ``url`` goes to ``HF_ENDPOINT``.

    ``faults`` is a list of (pattern of "METHOD path", what, times): ``what`` is a
    status, ``"cut"`` (the connection breaks off halfway through the body) or
    ``"lost"`` (the work is done, and the answer never comes).
    """

    def __init__(self):
        self.repos, self.blobs, self.requests = {}, {}, []
        self.faults, self.hits = [], Counter()
        self.user, self.role, self.token = "me", "write", TOKEN
        self.echo = False
        self.warning = None
        self.headers = {}
        self.lock = threading.RLock()
        self.on_put = lambda oid: None

    def __enter__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        serve = self.server.serve_forever
        self.thread = threading.Thread(target=serve, args=(0.01,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def files(self, name, kind="model", branch="main"):
        """Return what a branch of a repository holds, by path."""
        return self.repos[kind, name].branches[branch]

    def puts(self):
        """Return how often each object came."""
        return Counter(r.path for r in self.requests if r.method == "PUT")

    def fault(self, pattern, what, times=1):
        self.faults.append([re.compile(pattern), what, times])

    def fault_of(self, method, path):
        with self.lock:
            for one in self.faults:
                if one[2] > 0 and one[0].search(f"{method} {path}"):
                    one[2] -= 1
                    self.hits[one[0].pattern] += 1
                    return one[1]
        return None


def _handler(hub):  # noqa: C901  # one class, which knows its hub
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def answer(self, method):
            path = unquote(urlsplit(self.path).path)
            size = int(self.headers.get("Content-Length") or 0)
            if self.headers.get("Transfer-Encoding") == "chunked":
                size = -1
            asked = Request(method, path, dict(self.headers), size)
            with hub.lock:
                hub.requests.append(asked)
            fault = hub.fault_of(method, path)
            if fault == "cut":
                self.rfile.read(max(0, size) // 2)
                return self.reset()
            body = self.body(size)
            if isinstance(fault, int):
                return self.give(fault, {"error": f"a fault: {fault}"})
            self.lost = fault == "lost"
            with hub.lock:
                return self.route(method, path, body)

        def body(self, size):
            if size >= 0:
                return self.rfile.read(size)
            found = b""
            while (length := int(self.rfile.readline(), 16)) > 0:
                found += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
            return found

        def reset(self):
            self.close_connection = True
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()

        def give(self, status, told=None, content=b"", headers=()):
            if getattr(self, "lost", False):
                return self.reset()
            if told is not None:
                if hub.echo and status >= 400:
                    told["error"] += " " + (self.headers.get("Authorization") or "")
                content = json.dumps(told).encode()
            self.send_response(status)
            if hub.warning:
                self.send_header("X-HF-Warning", hub.warning)
            for name, value in {**dict(headers), **hub.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            return None

        def missing(self, code):
            return self.give(
                404, {"error": "Not Found"}, headers={"X-Error-Code": code}
            )

        def route(self, method, path, body):  # noqa: PLR0911  # a table of places
            if method == "PUT":
                return self.put(path, body)
            if self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self.give(401, {"error": "Invalid credentials"})
            if path == "/api/whoami-v2":
                who = {"name": hub.user, "type": "user", "orgs": []}
                who["auth"] = {"accessToken": {"role": hub.role}}
                return self.give(200, who)
            if path == "/api/validate-yaml":
                return self.give(200, {"errors": [], "warnings": []})
            if path == "/api/repos/create":
                return self.create(json.loads(body))
            found = re.fullmatch(
                r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/(\w+)/(.+))?", path
            )
            if found:
                kind, name, verb, rest = found.groups()
                if (kind, name) not in hub.repos:
                    return self.missing("RepoNotFound")
                repo = hub.repos[kind, name]
                told = {"preupload": self.preupload, "commit": self.commit,
                        "tree": self.tree, "branch": self.branch,
                        "revision": self.info, None: self.info}  # fmt: skip
                return told[verb](kind, name, repo, rest or "main", body)
            found = re.fullmatch(
                r"/(datasets/)?(.+?)\.git/info/lfs/objects/batch", path
            )
            if found:
                return self.batch(json.loads(body))
            found = re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/(.+)", path)
            if found:
                return self.resolve(*found.groups())
            return self.missing("EntryNotFound")

        def create(self, asked):
            kind = asked.get("type", "model")
            name = f"{asked['organization'] or hub.user}/{asked['name']}"
            if name.partition("/")[0] != hub.user:
                return self.give(403, {"error": "You don't have the rights"})
            url = f"{hub.url}/{'datasets/' * (kind == 'dataset')}{name}"
            if (kind, name) in hub.repos:
                told = {"error": "You already created this repo", "url": url}
                return self.give(409, told)
            hub.repos[kind, name] = Repo(private=asked.get("visibility") == "private")
            hub.repos[kind, name].branches["main"][".gitattributes"] = b"*.tar lfs\n"
            return self.give(200, {"url": url})

        def info(self, kind, name, repo, branch, _):
            branch = self.named(repo, branch)
            if branch is None:
                return self.missing("RevisionNotFound")
            return self.give(200, {
                "id": name, "modelId": name, "author": hub.user, "downloads": 0,
                "private": repo.private, "sha": repo.sha(branch), "tags": [],
                "siblings": [{"rfilename": one} for one in repo.branches[branch]],
            })  # fmt: skip

        def named(self, repo, branch):
            for one in repo.branches:
                if branch in {one, repo.sha(one)}:
                    return one
            return None

        def branch(self, kind, name, repo, branch, _):
            if branch in repo.branches:
                return self.give(409, {"error": "Reference already exists"})
            repo.branches[branch] = dict(repo.branches["main"])
            return self.give(200, {})

        def preupload(self, kind, name, repo, branch, body):
            found = []
            there = repo.branches[branch]
            for file in json.loads(body)["files"]:
                regular = file["path"].endswith(_REGULAR)
                told = {
                    "path": file["path"], "shouldIgnore": False,
                    "uploadMode": "regular" if regular else "lfs",
                }  # fmt: skip
                if file["path"] in there:
                    told["oid"] = _oid(there[file["path"]], regular=regular)
                found.append(told)
            return self.give(200, {"files": found})

        def batch(self, asked):
            objects = []
            for one in asked["objects"]:
                told = dict(one)
                if one["oid"] not in hub.blobs:
                    href = f"{hub.url}/lfs/{one['oid']}?X-Amz-Signature=secret"
                    told["actions"] = {"upload": {"href": href}}
                objects.append(told)
            return self.give(200, {"transfer": "basic", "objects": objects})

        def put(self, path, body):
            oid = path.rpartition("/")[2]
            if hashlib.sha256(body).hexdigest() != oid:
                return self.give(400, {"error": "another content"})
            hub.blobs[oid] = body
            hub.on_put(oid)
            return self.give(200, {})

        def commit(self, kind, name, repo, branch, body):
            if branch not in repo.branches:
                return self.missing("RevisionNotFound")
            lines = [json.loads(line) for line in body.splitlines()]
            for line in lines[1:]:
                value = line["value"]
                if line["key"] == "file":
                    content = base64.b64decode(value["content"])
                elif value["oid"] not in hub.blobs:
                    return self.give(400, {"error": "an object is missing"})
                else:
                    content = hub.blobs[value["oid"]]
                repo.branches[branch][value["path"]] = content
            repo.commits.append((branch, lines[0]["value"], len(lines) - 1))
            oid = repo.sha(branch)
            url = f"{hub.url}/{'datasets/' * (kind == 'dataset')}{name}/commit/{oid}"
            return self.give(
                200, {"commitUrl": url, "commitOid": oid, "pullRequestUrl": None}
            )

        def tree(self, kind, name, repo, rest, _):
            branch = self.named(repo, rest)
            if branch is None:
                return self.missing("RevisionNotFound")
            entries = [
                _entry(path, content)
                for path, content in sorted(repo.branches[branch].items())
            ]
            content = json.dumps(entries).encode()
            return self.give(200, content=content)

        def resolve(self, prefix, name, rest):
            repo = hub.repos.get(("dataset" if prefix else "model", name))
            revision, _, path = rest.partition("/")
            branch = repo and self.named(repo, revision)
            if not branch or path not in repo.branches[branch]:
                return self.missing("EntryNotFound")
            content = repo.branches[branch][path]
            head = {
                "ETag": f'"{_oid(content, regular=path.endswith(_REGULAR))}"',
                "X-Repo-Commit": repo.sha(branch), "Accept-Ranges": "bytes",
                "X-Linked-Size": str(len(content)),
            }  # fmt: skip
            return self.give(200, content=content, headers=head)

        def do_GET(self):
            self.answer("GET")

        def do_HEAD(self):
            self.answer("HEAD")

        def do_POST(self):
            self.answer("POST")

        def do_PUT(self):
            self.answer("PUT")

    return Handler


def _oid(content, *, regular):
    if not regular:
        return hashlib.sha256(content).hexdigest()
    head = b"blob %d\0" % len(content)
    return hashlib.sha1(head + content, usedforsecurity=False).hexdigest()


def _entry(path, content):
    regular = path.endswith(_REGULAR)
    entry = {
        "type": "file", "path": path, "size": len(content),
        "oid": _oid(content, regular=True),
    }  # fmt: skip
    if not regular:
        digest = _oid(content, regular=False)
        entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
    return entry
