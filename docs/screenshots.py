"""Takes the pictures of the time machine for docs/images: `python docs/screenshots.py` at the root.

It starts a server in a temporary folder, lets things happen there (tests/demo.py), and looks at them with the Chromium
of this machine.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests import demo  # noqa: E402
from tests.system.browser import Tab, browser  # noqa: E402
from tests.system.daemon import Daemon  # noqa: E402
from tests.system.test_time_machine import call  # noqa: E402

IMAGES = ROOT / "docs" / "images"
SIZE = {"width": 1200, "height": 660}
SHORT = {"width": 1200, "height": 560}
LIMIT = 150_000
"""Bytes of a picture; more belongs into no repository."""


def save(tab: Tab, name: str) -> None:
    """What the tab shows."""
    tab.page.wait_for_timeout(1500)
    path = IMAGES / f"{name}.png"
    tab.page.screenshot(path=path)
    size = path.stat().st_size
    sys.stdout.write(f"{path.name}: {size // 1000} kB\n")
    assert size < LIMIT, path


def main() -> None:
    """All of them."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Daemon(Path(folder)) as daemon, browser() as chrome:
        demo.tell(daemon.ports["plain"], seconds=25)
        events = call(daemon, "/admin/events?target=%23flight&type=channel.topic_change,channel.kick")
        bad = next(each for each in events if each["payload"].get("topic", "").startswith("this channel"))
        good = call(daemon, f"/admin/events?order=desc&limit=1&before={bad['id']}")[0]["timestamp"]
        after = events[-1]["timestamp"]
        linus = next(each["actor_uid"] for each in events if each["payload"]["nick"] == "linus")
        base = f"http://127.0.0.1:{daemon.ports['admin']}"

        def tab(view: str, **options: Any) -> Tab:
            made = Tab(chrome, base, **{"viewport": SIZE, "reduced_motion": "reduce", **options}).open(view).log_in()
            made.page.locator("#main .detail .topic, #main .event, #main .thing").first.wait_for()
            return made

        flight = f"#channels?channel=%23flight&at={good}"
        one = tab(flight)
        one.page.wait_for_timeout(1500)
        one.page.locator(".detail").get_by_role("link", name="linus").hover()
        save(one, "time-machine")
        one.page.get_by_role("button", name="Restore …").click()
        one.page.get_by_role("dialog").get_by_role("listitem").first.wait_for()
        save(one, "time-machine-restore")
        for name, view, options in (
            ("time-machine-compare", f"#compare?a={good}&b={after}&at={after}&q=flight", {}),
            ("time-machine-events", f"#events?at={after}&target=%23flight", {"viewport": SHORT}),
            ("time-machine-story", f"#story?user={linus}", {"viewport": SHORT}),
            ("time-machine-dark", flight, {"color_scheme": "dark"}),
            ("time-machine-narrow", flight, {"color_scheme": "dark", "viewport": {"width": 390, "height": 780}}),
        ):
            one.close()
            one = tab(view, **options)
            save(one, name)
        one.close()


if __name__ == "__main__":
    main()
