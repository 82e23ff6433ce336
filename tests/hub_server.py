"""A stand-in for the Hugging Face hub, with a small S2-100K: it lists, redirects, knows ranges, and fails when told."""

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILES = {
    "index.csv": b"fn,lon,lat\n" + b"patch_1.tif,1,2\n" * 100,
    "data/shard-00000.tar": os.urandom(300_000),
    "data/shard-00001.tar": os.urandom(200_000),
    "data/shard-00002.tar": os.urandom(100_000),
    "satclip.tar": b"all of it again",
    "README.md": b"# S2-100K",
}
RESOLVE = "/datasets/torchgeo/s2-100k/resolve/main/"


@dataclass
class Hub:
    """What it has and how it fails; `asked` is what was asked of it, path and range, `sent` how many bytes it sent."""

    endpoint: str = ""
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    cut_once: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    claims: dict[str, dict[str, object]] = field(default_factory=dict)
    knows_ranges: bool = True
    page: int = 4
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0

    def listing(self) -> list[dict[str, object]]:
        entries: list[dict[str, object]] = [{"type": "directory", "path": "data", "size": 0, "oid": "0"}]
        for path, content in self.files.items():
            entry: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": "0"}
            if path.endswith(".tar"):
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
            entries.append(entry | self.claims.get(path, {}))
        return entries


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.hub.asked.append((path, self.headers["Range"]))
        if path == "/api/datasets/torchgeo/s2-100k/tree/main":
            self.listing(int(re.search(r"cursor=(\d+)|$", query)[1] or 0))
        elif path.startswith(RESOLVE):
            self.send_response(302)
            self.send_header("Location", f"/cdn/{path.removeprefix(RESOLVE)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif (name := path.removeprefix("/cdn/")) in self.hub.files:
            self.file(name)
        else:
            self.send_error(404)

    def listing(self, start: int) -> None:
        entries = self.hub.listing()
        body = json.dumps(entries[start : start + self.hub.page]).encode()
        self.send_response(200)
        if start + self.hub.page < len(entries):
            following = f"{self.hub.endpoint}/api/datasets/torchgeo/s2-100k/tree/main?recursive=true&cursor="
            self.send_header("Link", f'<{following}{start + self.hub.page}>; rel="next"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def file(self, name: str) -> None:
        if status := self.hub.refused.pop(name, None):
            self.send_error(status)
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "") if self.hub.knows_ranges else None
        start = int(asked[1]) if asked else 0
        whole = self.hub.files[name]
        rest = whole[start:]
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if (cut := self.hub.cut_once.pop(name, None)) is not None:
            rest, self.close_connection = rest[:cut], True
        self.hub.sent += len(rest)
        self.wfile.write(rest)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def running_hub() -> Iterator[Hub]:
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
