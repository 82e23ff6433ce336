import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trainer.data.packages import open_package
from trainer.errors import ImageryError


def tarball(**members: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        folder = tarfile.TarInfo("package/folder")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
    return file.getvalue()


@pytest.fixture
def registry(monkeypatch):
    """A registry of one package, @scope/earth 1.2.3, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            files = {
                "/@scope%2Fearth/1.2.3": json.dumps({"dist": {"tarball": f"{url}/earth.tgz"}}).encode(),
                "/earth.tgz": tarball(night=b"lights"),
                "/broken/1.0.0": b"no JSON",
                "/odd/1.0.0": json.dumps({"dist": {"tarball": "file:///etc/hostname"}}).encode(),
            }
            content = files.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", url + "/")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_members_of_an_npm_package_are_read_and_nothing_is_left_behind(registry, tmp_path):
    with open_package("npm:@scope/earth@1.2.3", tmp_path) as read:
        assert read("package/night") == b"lights"
        for absent in ("package/day", "package/folder"):
            with pytest.raises(KeyError):
                read(absent)
    assert registry == ["/@scope%2Fearth/1.2.3", "/earth.tgz"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("package", "message"),
    [
        ("npm:earth", "npm:earth is not npm:NAME@VERSION"),
        ("npm:earth@latest", "npm:earth@latest is not npm:NAME@VERSION"),
        ("npm:../earth@1.0.0", "is not npm:NAME@VERSION"),
        ("npm:absent@1.0.0", "npm:absent@1.0.0 could not be downloaded from http.*404"),
        ("npm:broken@1.0.0", "npm:broken@1.0.0 could not be downloaded"),
        ("npm:odd@1.0.0", "file:///etc/hostname is no web address"),
    ],
)
def test_what_cannot_be_had_is_named(registry, tmp_path, package, message):
    with pytest.raises(ImageryError, match=message), open_package(package, tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
