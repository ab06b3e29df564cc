"""A hub on this machine, as far as the hub's own client asks it: a repository's list of files, and the files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass
class FakeHub:
    """One repository; what was asked for is kept."""

    repository: str
    revision: str
    files: dict[str, bytes]
    large_bytes: int = 1000
    """From here on a file is large, and the list has its sha256."""
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> bytes | None:
        self.asked.append(path)
        for revision in (self.revision, COMMIT):
            if path == f"/api/models/{self.repository}/revision/{revision}?blobs=true":
                return self._listing()
            if path.startswith(start := f"/{self.repository}/resolve/{revision}/"):
                return self.files.get(path.removeprefix(start))
        return None

    def _listing(self) -> bytes:
        siblings: list[dict[str, object]] = []
        for name, data in self.files.items():
            listed: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": "0" * 40}
            if len(data) >= self.large_bytes:
                listed["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 100}
            siblings.append(listed)
        return json.dumps({"id": self.repository, "sha": COMMIT, "siblings": siblings}).encode()


@contextmanager
def serving(hub: FakeHub) -> Iterator[str]:
    """Its address while it is up."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, body: bool) -> None:
            data = hub.answer(self.path)
            self.send_response(404 if data is None else 200)
            if data is None:
                self.send_header("X-Error-Code", "RepoNotFound" if "/api/" in self.path else "EntryNotFound")
            self.send_header("Content-Length", str(len(data or b"")))
            self.send_header("ETag", f'"{hashlib.sha256(data or b"").hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body and data is not None:
                self.wfile.write(data)

        def do_HEAD(self) -> None:
            self._answer(False)

        def do_GET(self) -> None:
            self._answer(True)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
