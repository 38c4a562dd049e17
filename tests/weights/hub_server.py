"""A small server that speaks the hub's endpoints on loopback, for the tests of ``hub.py``.

As https://huggingface.co/docs/hub/api and huggingface_hub's requests have them: revisions,
trees and files by commit, ranges, and commits with files sent through Git LFS.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Files = dict[str, bytes]


@dataclass
class Repo:
    """commits: files by commit; refs: commits by branch or tag. gated: asks for a token."""

    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit(self, files: Files, branch: str = "main") -> str:
        content = json.dumps([branch, len(self.commits), *sorted(files)])
        sha = hashlib.sha1(content.encode()).hexdigest()
        self.commits[sha] = files
        self.refs[branch] = sha
        return sha


def is_lfs(name: str) -> bool:
    return name.endswith((".safetensors", ".png"))


def oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(ThreadingHTTPServer):
    """The server; what it is to do wrong is set by the test.

    failures: statuses to answer the next requests with; cut: bytes after which the next file's
    connection breaks; lie: send files whose hash is not the stated one.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repos: dict[str, Repo] = {}
        self.uploads: dict[str, bytes] = {}
        self.failures: list[int] = []
        self.cut: int | None = None
        self.lie = False
        self.requests: list[tuple[str, str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def answer(
        self, status: int, body: object = None, headers: dict[str, str] | None = None
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def wrong(self, status: int, code: str) -> None:
        self.answer(status, {"error": code}, {"X-Error-Code": code, "X-Error-Message": code})

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path, self.headers.get("Range", "")))
        if self.server.failures:
            return self.answer(self.server.failures.pop(0), {"error": "not now"})
        for pattern, method in (
            (r"/api/models/([^/]+/[^/]+)/revision/(.+)", self.revision),
            (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", self.tree),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.file),
        ):
            if match := re.fullmatch(pattern, path):
                return method(*match.groups())
        return self.wrong(404, "RepoNotFound")

    do_HEAD = do_GET  # noqa: N815

    def find(self, name: str, revision: str) -> tuple[str, Files] | None:
        """(commit, files), or None where an error was answered."""
        repo = self.server.repos.get(name)
        if repo is None:
            self.wrong(404, "RepoNotFound")
            return None
        if repo.gated and self.headers.get("Authorization") != "Bearer hf_good":
            self.wrong(403, "GatedRepo")
            return None
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            self.wrong(404, "RevisionNotFound")
            return None
        return commit, repo.commits[commit]

    def revision(self, name: str, revision: str) -> None:
        if found := self.find(name, revision):
            siblings = [{"rfilename": file} for file in found[1]]
            self.answer(200, {"id": name, "modelId": name, "sha": found[0], "siblings": siblings})

    def tree(self, name: str, revision: str) -> None:
        found = self.find(name, revision)
        if not found:
            return
        entries: list[dict[str, Any]] = []
        for path, data in found[1].items():
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data)}
            entry["oid"] = oid(data)
            if is_lfs(path):
                sha = hashlib.sha256(data).hexdigest()
                entry["lfs"] = {"oid": sha, "size": len(data), "pointerSize": 134}
            entries.append(entry)
        self.answer(200, entries)

    def file(self, name: str, revision: str, path: str) -> None:
        found = self.find(name, revision)
        if not found:
            return None
        if path not in found[1]:
            return self.wrong(404, "EntryNotFound")
        data = found[1][path]
        etag = hashlib.sha256(data).hexdigest() if is_lfs(path) else oid(data)
        headers = {"X-Repo-Commit": found[0], "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if self.server.lie and is_lfs(path):
            data = data[:-1] + bytes([data[-1] ^ 1])
        status, part = 200, data
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            begin = int(match[1])
            status, part = 206, data[begin:]
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        headers["Content-Length"] = str(len(part))
        if self.command == "GET" and self.server.cut is not None and is_lfs(path):
            part, self.server.cut = part[: self.server.cut], None
            self.close_connection = True
        return self.answer(status, part, headers)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_POST(self) -> None:
        path, body = unquote(urlsplit(self.path).path), self.body()
        self.server.requests.append((self.command, path, ""))
        if self.headers.get("Authorization") != "Bearer hf_good":
            return self.wrong(401, "Unauthorized")
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization', 'me')}/{asked['name']}"
            self.server.repos.setdefault(name, Repo())
            return self.answer(200, {"url": f"{self.server.url}/{name}", "name": name})
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/.+", path):
            files = [
                {
                    "path": file["path"], "shouldIgnore": False,
                    "uploadMode": "lfs" if is_lfs(file["path"]) else "regular",
                }
                for file in json.loads(body)["files"]
            ]  # fmt: skip
            return self.answer(200, {"files": files})
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**thing, "actions": {"upload": {"href": f"{self.server.url}/lfs/{thing['oid']}"}}}
                for thing in json.loads(body)["objects"]
            ]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/(.+)", path):
            return self.commit(match[1], match[2], body)
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/branch/(.+)", path):
            return self.answer(200, {})
        return self.wrong(404, "RepoNotFound")

    def commit(self, name: str, branch: str, body: bytes) -> None:
        files: Files = {}
        for line in body.decode().splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            elif entry["key"] == "lfsFile":
                files[entry["value"]["path"]] = self.server.uploads[entry["value"]["oid"]]
        sha = self.server.repos[name].commit(files, branch)
        address = f"{self.server.url}/{name}/commit/{sha}"
        self.answer(200, {"success": True, "commitOid": sha, "commitUrl": address})

    def do_PUT(self) -> None:
        data = self.body()
        name = hashlib.sha256(data).hexdigest()
        if not self.path.endswith(name):
            return self.wrong(400, "BadHash")
        self.server.uploads[name] = data
        return self.answer(200, {})
