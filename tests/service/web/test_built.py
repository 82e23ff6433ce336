"""The built files, read from a folder."""

from __future__ import annotations

import gzip
from pathlib import Path

from service.web.built import read_built


def test_where_the_page_was_not_built_there_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "main-ABCDEFGH.js").write_text("half a build")
    assert read_built(tmp_path) == {}
    assert read_built(tmp_path / "nowhere") == {}


def test_files_are_known_by_name_with_what_is_gzipped_beside_them(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>")
    (tmp_path / "main-ABCDEFGH.js").write_text("let a")
    (tmp_path / "main-ABCDEFGH.js.gz").write_bytes(gzip.compress(b"let a"))
    (tmp_path / "digest").write_text("0")
    files = read_built(tmp_path)
    assert files.keys() == {"index.html", "main-ABCDEFGH.js"}
    assert files["index.html"].gzipped is None
    script = files["main-ABCDEFGH.js"]
    assert script.gzipped is not None
    assert gzip.decompress(script.gzipped) == script.content
    assert script.media_type == "text/javascript; charset=utf-8"
