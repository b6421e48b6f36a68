"""A real Chromium, driven by Playwright: Debian's, never one that is downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE_MS = int(os.environ.get("PATIENCE_MS", "30000"))
"""How long anything may take on the slowest machine."""


def chromium() -> str:
    """Where it is; without it tests are skipped, but never in CI, which installs it."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own."""
    path = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        try:
            yield started
        finally:
            started.close()


class Tab:
    """A page of the time machine; what goes wrong in it is kept in `trouble`."""

    def __init__(self, browser: Browser, base: str, **options: Any) -> None:
        self.base = base
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        self.context.set_default_timeout(PATIENCE_MS)
        self.page: Page = self.context.new_page()
        self.trouble: list[str] = []
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: self.trouble.append(f"dialog: {dialog.message}"))
        self.page.on("console", self._console)

    def _console(self, message: Any) -> None:
        # A refused request is told by the page itself.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.trouble.append(message.text)

    def open(self, view: str = "") -> Tab:
        """Go to a view by its address."""
        self.page.goto(f"{self.base}/{view}")
        return self

    def log_in(self, name: str = "admin", password: str = "sesame") -> Tab:
        """Fill in the form; the page shows what its address says."""
        self.page.get_by_label("User").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()
        self.page.locator("#tabs").wait_for()
        return self

    def go(self, view: str) -> None:
        """Another view, as a link in the page would."""
        self.page.evaluate("view => { location.hash = view; }", view)

    def close(self) -> None:
        self.context.close()
