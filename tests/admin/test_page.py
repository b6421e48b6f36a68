"""The page's files: they are all there, say nothing they should not, and are served as browsers want them."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from slircd.admin.page import ASSETS, POLICY
from tests.admin.harness import AdminTestCase

UI = Path(__file__).parents[2] / "slircd" / "admin" / "ui"


class Page(AdminTestCase):
    def test_needs_no_log_in_and_allows_nothing_foreign(self) -> None:
        """The page is served to anybody, with a policy that allows its own files and server only."""
        found = self.ask("/", None)
        self.assertEqual((found.status, found.headers["content-type"]), (200, "text/html; charset=utf-8"))
        self.assertEqual(found.headers["content-security-policy"], POLICY)
        self.assertNotIn("unsafe", POLICY)
        self.assertEqual(found.headers["x-content-type-options"], "nosniff")
        self.assertEqual(found.headers["cache-control"], "no-cache")
        self.assertNotIn("set-cookie", found.headers)

    def test_files(self) -> None:
        """Each file has its type and an ETag, is compressed for whoever takes that, and not sent twice."""
        for name, asset in ASSETS.items():
            found = self.ask(f"/ui/{name}", None)
            self.assertEqual((found.status, found.body), (200, asset.body), name)
            self.assertTrue(found.headers["content-type"].startswith(asset.kind))
            again = self.ask(f"/ui/{name}", None, If_None_Match=found.headers["etag"])
            self.assertEqual((again.status, again.body), (304, b""))
        packed = self.ask("/ui/style.css", None, Accept_Encoding="gzip")
        self.assertEqual(packed.headers["content-encoding"], "gzip")
        self.assertEqual(gzip.decompress(packed.body), ASSETS["style.css"].body)

    def test_nothing_else(self) -> None:
        """No other file, however it is spelt."""
        for path in (
            "/ui/",
            "/ui/nosuch.js",
            "/ui/..%2fpage.py",
            "/ui/../page.py",
            "/ui/__init__.py",
            "/index.html",
            "//",
        ):
            self.assertEqual(self.ask(path, None).status, 404, path)


def test_what_files_name_is_there() -> None:
    """Every import of a module, and every file that the page names, exists; every module is used."""
    used = {"index.html"}
    for path in UI.iterdir():
        text = path.read_text()
        names = re.findall(r'from "\./([\w.]+)"', text) + re.findall(r'(?:href|src)="ui/([\w.]+)"', text)
        for name in names:
            assert name in ASSETS, f"{path.name} names {name}"
        used.update(names)
    assert used == set(ASSETS)


def test_no_text_becomes_markup() -> None:
    """Nothing parses HTML, evaluates text or carries inline script or style; nothing points anywhere else."""
    for path in UI.iterdir():
        text = path.read_text()
        for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "new Function", "srcdoc"):
            assert word not in text, f"{word} in {path.name}"
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text), path.name
    page = (UI / "index.html").read_text()
    assert not re.findall(r"<style|<script(?! (?:type=\"module\" )?src=)|\son\w+=|style=", page)
