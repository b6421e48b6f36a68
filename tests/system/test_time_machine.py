"""The time machine's page in a real Chromium, over the real daemon and a log in which things happened."""

from __future__ import annotations

import csv
import io
import json
import re
import socket
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from slircd.security.passwords import hash_now
from tests.system.browser import PATIENCE_MS, Tab, browser
from tests.system.daemon import DEADLINE_S, Daemon, SocketClient

pytestmark = pytest.mark.system

READER = f'[admin.users.eve]\npassword_hash = "{hash_now("reading", "minimum")}"\nrole = "read"\n'

HOSTILE = (
    "<img src=x onerror=window.__xss=1>",
    '"><script>window.__xss=1</script>',
    "<svg/onload=window.__xss=1>",
    "javascript:window.__xss=1",
    "${window.__xss=1} {{constructor.constructor('window.__xss=1')()}}",
    "\u202egnp.exe\u202c \u2066turned\u2069 \u200bzero",
    "\x02bold\x0304,07red\x04ff0000hex\x1d\x1f\x1e\x11\x16\x0f plain",
    "</title></textarea></style><b>&lt;&amp;&#39;",
)

expect.set_options(timeout=PATIENCE_MS)


def call(daemon: Daemon, path: str, *, method: str = "GET", token: str = "") -> Any:
    """The admin API beside the page."""
    request = urllib.request.Request(f"http://127.0.0.1:{daemon.ports['admin']}{path}", method=method)
    basic = b64encode(b"admin:sesame").decode()
    request.add_header("Authorization", f"Bearer {token}" if token else f"Basic {basic}")
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
        body = response.read()
    return json.loads(body) if body else None


class Story:
    """A server, and the moments of what happened on it."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.ann = SocketClient(daemon).register("ann")
        self.bob = SocketClient(daemon).register("bob")
        self.eve = SocketClient(daemon).register("eve")
        self.ann.sends("JOIN #flight", "TOPIC #flight :first", "MODE #flight +b *!*@evil.example")
        self.ann.synchronise()
        self.bob.sends("JOIN #flight", "JOIN #ops")
        self.bob.synchronise()
        self.eve.sends("JOIN #flight")
        self.eve.synchronise()
        self.ann.sends("MODE #flight +o bob")
        self.ann.synchronise()
        self.good = self.head()
        self.bob.sends("TOPIC #flight :ours now", "MODE #flight +mk secret", "MODE #flight -b *!*@evil.example")
        self.bob.sends("KICK #flight eve :bye")
        self.bob.synchronise()
        self.bad = self.head()
        self.ann.sends("OPER admin sesame", "KLINE *@bad.example :no spam")
        self.ann.synchronise()
        self.users = {each["nick"]: each["uid"] for each in call(daemon, "/admin/moment/users")["items"]}

    def head(self) -> str:
        """The newest timestamp of the log."""
        return call(self.daemon, "/admin/timeline?buckets=1")["last"]["timestamp"]


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with Daemon(tmp_path_factory.mktemp("machine"), more=READER) as daemon:
        yield Story(daemon)


Open = Callable[..., Tab]


@pytest.fixture
def tab(chrome: Browser, story: Story) -> Iterator[Open]:
    """Opens tabs; at the end none of them may have seen an error."""
    tabs: list[Tab] = []

    def make(view: str = "", **options: Any) -> Tab:
        tabs.append(Tab(chrome, f"http://127.0.0.1:{story.daemon.ports['admin']}", **options))
        return tabs[-1].open(view)

    yield make
    troubles = [trouble for each in tabs for trouble in each.trouble]
    for each in tabs:
        each.close()
    assert troubles == []


def detail(page: Page) -> Any:
    return page.get_by_role("region", name="Details")


def escaped(view: str) -> re.Pattern[str]:
    return re.compile(re.escape(view) + "$")


# --- who is there -----------------------------------------------------------------------------------------------------


def test_log_in(tab: Open) -> None:
    """A wrong password is told; the right one opens the page; a reload needs none; a log-out forgets it."""
    one = tab()
    page = one.page
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="Wrong user or password.")).to_be_visible()
    expect(page.get_by_label("Password")).to_be_focused()
    one.log_in()
    expect(page.get_by_role("option", name="#flight")).to_be_visible()
    assert one.context.cookies() == []
    assert page.evaluate("Object.values(localStorage).join() + document.cookie") == ""
    assert "sesame" not in page.evaluate("JSON.stringify(sessionStorage)")
    page.reload()
    expect(page.get_by_role("option", name="#flight")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("User")).to_be_focused()
    assert page.evaluate("sessionStorage.length") == 0


def test_readers_cannot_act(tab: Open, story: Story) -> None:
    """The role read sees everything and has no button that changes anything."""
    page = tab(f"#channels?channel=%23flight&at={story.good}").log_in("eve", "reading").page
    expect(detail(page).get_by_role("heading", name="#flight")).to_be_visible()
    for name in ("Restore …", "Topic …", "Modes …", "Kick …", "Kill …", "Ban …", "New ban …", "Lift …"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)


def test_a_session_that_was_revoked(tab: Open, story: Story) -> None:
    """The page says so and asks anew, and then is where it was."""
    view = f"#channels?at={story.good}&channel=%23flight"
    page = tab(view).log_in().page
    call(story.daemon, "/admin/session", method="DELETE", token=page.evaluate("sessionStorage.getItem('slircd.token')"))
    page.keyboard.press(",")
    expect(page.get_by_role("alert").filter(has_text="Your session has ended")).to_be_visible()
    expect(page).to_have_url(escaped(view))
    page.get_by_label("User").fill("admin")
    page.get_by_label("Password").fill("sesame")
    page.keyboard.press("Enter")
    expect(detail(page).get_by_text("first", exact=True)).to_be_visible()


# --- moments ----------------------------------------------------------------------------------------------------------


def test_scrubbing(tab: Open, story: Story) -> None:
    """A date, the slider and steps put the whole page at a moment; Now brings it back."""
    page = tab("#channels?channel=%23flight").log_in().page
    expect(detail(page).get_by_text("ours now")).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    field = page.get_by_label("Moment, UTC")
    field.fill(story.good)
    field.press("Enter")
    expect(detail(page).get_by_text("first", exact=True)).to_be_visible()
    expect(detail(page).get_by_text("eve", exact=True)).to_be_visible()
    expect(detail(page).get_by_text("*!*@evil.example")).to_be_visible()
    expect(page.get_by_text("Past", exact=True)).to_be_visible()
    expect(page.locator(".event-at")).to_contain_text("ann changed #flight +o bob")
    page.get_by_role("button", name="Next event").click()
    expect(page.locator(".event-at")).to_contain_text("ours now")
    expect(detail(page).get_by_text("ours now")).to_be_visible()
    page.get_by_role("button", name="Event before").click()
    expect(detail(page).get_by_text("first", exact=True)).to_be_visible()
    slider = page.get_by_role("slider", name="Moment")
    slider.focus()
    slider.press("Home")
    expect(detail(page)).to_contain_text("did not exist at this moment")
    field.fill("yesterday")
    field.press("Enter")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("2001-01-01")
    field.press("Enter")
    expect(page.locator(".list-note")).to_contain_text("the log begins at")
    page.get_by_role("button", name="Now", exact=True).click()
    expect(detail(page).get_by_text("ours now")).to_be_visible()
    expect(page).to_have_url(escaped("#channels?channel=%23flight"))


def test_playing(tab: Open, story: Story) -> None:
    """Backward from a moment to the first event, and forward to now."""
    page = tab(f"#channels?channel=%23flight&at={story.bad}").log_in().page
    expect(detail(page).get_by_text("ours now")).to_be_visible()
    page.get_by_label("Speed").select_option("86400")
    page.get_by_role("button", name="Play backward").click()
    expect(detail(page)).to_contain_text("did not exist at this moment")
    expect(page.get_by_role("button", name="Play backward")).to_have_attribute("aria-pressed", "false")
    page.get_by_label("Speed").select_option("1")
    page.get_by_role("button", name="Play forward").click()
    expect(detail(page).get_by_text("first", exact=True)).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(detail(page).get_by_text("ours now")).to_be_visible()


def test_who_set_it(tab: Open, story: Story) -> None:
    """On hover and on focus each mode, ban, topic and rank says who set it and when; Escape closes that."""
    page = tab(f"#channels?channel=%23flight&at={story.bad}").log_in().page
    tooltip = page.get_by_role("tooltip")
    detail(page).get_by_text("moderated").hover()
    expect(tooltip).to_contain_text(re.compile(r"Set by bob.*UTC · event \d+"))
    detail(page).get_by_text("ours now").hover()
    expect(tooltip).to_contain_text("Set by bob")
    detail(page).get_by_role("link", name="bob").focus()
    expect(tooltip).to_contain_text("+o Set by ann")
    page.keyboard.press("Escape")
    expect(tooltip).to_be_hidden()
    page.locator("#main").evaluate("main => main.focus()")
    expect(detail(page).get_by_text("*", exact=True)).to_be_visible()
    assert "secret" not in page.content()
    page.goto(f"{page.url.partition('#')[0]}#channels?channel=%23flight&at={story.good}")
    detail(page).get_by_text("*!*@evil.example").hover()
    expect(tooltip).to_contain_text("Set by ann")


def test_two_moments(tab: Open, story: Story) -> None:
    """Side by side, with what changed: topic, modes, bans, members; the key is masked."""
    page = tab(f"#compare?a={story.good}&b={story.bad}").log_in().page
    flight = page.get_by_role("article").filter(has=page.get_by_role("heading", name="#flight"))
    topic = flight.get_by_role("row").filter(has_text="topic / text")
    expect(topic.get_by_role("cell").nth(0)).to_have_text("first")
    expect(topic.get_by_role("cell").nth(1)).to_have_text("ours now")
    expect(flight.get_by_role("row").filter(has_text="*!*@evil.example")).to_contain_text("removed")
    expect(flight.get_by_role("row").filter(has_text="members")).to_contain_text("eve")
    assert "secret" not in page.content()
    page.get_by_label("Only what contains").fill("evil")
    expect(page.get_by_text("1 difference.")).to_be_visible()
    page.get_by_label("Only what contains").fill("")
    page.locator("#compare-b").fill("now")
    page.locator("#compare-b").press("Enter")
    expect(page.get_by_role("heading", name="kline *@bad.example")).to_be_visible()
    expect(page).to_have_url(escaped(f"#compare?a={story.good}"))


def test_users_and_bans(tab: Open, story: Story) -> None:
    """The other lists, with a filter, and what they hold of one."""
    page = tab("#users").log_in().page
    page.get_by_label("Filter users").fill("bo")
    expect(page.locator(".row")).to_have_count(1)
    page.get_by_role("option", name="bob").click()
    expect(detail(page)).to_contain_text("bob!~bob@")
    detail(page).get_by_role("link", name="#ops").click()
    expect(detail(page).get_by_role("heading", name="#ops")).to_be_visible()
    page.get_by_role("link", name="Network bans").click()
    page.get_by_role("option", name="*@bad.example").click()
    expect(detail(page)).to_contain_text("no spam")
    page.goto(f"{page.url.partition('#')[0]}#bans?at={story.good}")
    expect(page.get_by_text("No network bans at this moment.")).to_be_visible()


def test_timeline(tab: Open, story: Story) -> None:
    """It shows the log by family, zooms by button and by mouse, hides families, and leads to a moment."""
    page = tab().log_in().page
    chart = page.get_by_role("img", name=re.compile(r"\d+ events from"))
    expect(chart).to_be_visible()
    whole = chart.get_attribute("aria-label")
    page.get_by_role("button", name="Zoom in").click()
    expect(page).to_have_url(re.compile(r"from=.*&to="))
    expect(chart).not_to_have_attribute("aria-label", whole or "")
    page.get_by_role("button", name="Whole log").click()
    expect(page).not_to_have_url(re.compile("from="))
    page.get_by_role("button", name=re.compile("Operators")).click()
    expect(page).to_have_url(re.compile("hide=oper"))
    page.get_by_role("button", name="Figures").click()
    expect(page.get_by_role("table").first).to_contain_text("Channels")
    page.get_by_role("button", name="Figures").click()
    box = chart.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 10, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=.*&to="))
    page.mouse.click(box["x"] + 200, box["y"] + 30)
    expect(page).to_have_url(re.compile(r"at=2"))
    expect(page.get_by_text("Past", exact=True)).to_be_visible()


# --- finding ----------------------------------------------------------------------------------------------------------


def test_search_and_stories(tab: Open, story: Story) -> None:
    """Nicks, channels and types are found; a user's and a channel's story tell what happened."""
    page = tab().log_in().page
    page.keyboard.press("/")
    expect(page.get_by_label("Search the whole log")).to_be_focused()
    page.keyboard.type("eve")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("hits? in the whole log"))).to_be_visible()
    page.get_by_role("link", name="Story of eve").click()
    events = page.get_by_role("list", name="Events, newest first")
    expect(events.get_by_role("listitem").first).to_contain_text("bob kicked eve from #flight: bye")
    expect(events.get_by_role("listitem").last).to_contain_text("eve connected")
    events.get_by_role("link", name="#flight").first.click()
    expect(detail(page).get_by_role("heading", name="#flight")).to_be_visible()
    detail(page).get_by_role("button", name="Story").click()
    expect(events.get_by_role("listitem").last).to_contain_text("created #flight")
    page.get_by_label("Search the whole log").fill("kick")
    page.get_by_label("Search the whole log").press("Enter")
    page.get_by_role("link", name="channel.kick").click()
    expect(events.get_by_role("listitem")).to_have_count(1)
    when = events.get_by_role("link").first
    when.click()
    expect(page.get_by_text("Past", exact=True)).to_be_visible()


def test_export(tab: Open, story: Story, tmp_path: Path) -> None:
    """What is shown, as JSON, CSV and text; a formula in a spreadsheet stays a text."""
    page = tab(f"#events?at={story.bad}&types=channel.topic_change").log_in().page
    expect(page.get_by_role("listitem")).to_have_count(2)

    def saved(kind: str) -> str:
        with page.expect_download() as waiting:
            page.get_by_label("Export what is shown").select_option(kind)
        path = tmp_path / kind
        waiting.value.save_as(path)
        return path.read_text()

    assert [event["payload"]["topic"] for event in json.loads(saved("json"))] == ["ours now", "first"]
    rows = list(csv.DictReader(io.StringIO(saved("csv"))))
    assert [json.loads(row["payload"])["topic"] for row in rows] == ["ours now", "first"]
    assert "bob set the topic of #flight: ours now" in saved("txt")
    page.get_by_role("link", name="Users").click()
    # In the list: "ann" is part of the names of all types of channel events, which the view before offers.
    expect(page.get_by_role("listbox", name="Users").get_by_role("option", name="ann")).to_be_visible()
    assert {each["nick"] for each in json.loads(saved("json"))} >= {"ann", "bob", "eve"}


def test_deep_links(tab: Open, story: Story) -> None:
    """The address holds the whole view: after a reload, or for somebody else, it is the same; back goes back."""
    view = f"#channels?at={story.good}&channel=%23flight"
    first = tab(view).log_in()
    expect(detail(first.page).get_by_text("first", exact=True)).to_be_visible()
    first.page.reload()
    expect(detail(first.page).get_by_text("first", exact=True)).to_be_visible()
    first.page.get_by_role("link", name="Users").click()
    expect(first.page).to_have_url(re.compile(f"#users.*at={story.good}"))
    first.page.go_back()
    expect(detail(first.page).get_by_text("first", exact=True)).to_be_visible()
    other = tab(f"#story?user={story.users['eve']}&at={story.good}").log_in("eve", "reading")
    expect(other.page.get_by_role("listitem").first).to_contain_text("eve joined #flight")
    broken = tab("#nonsense?at=%ff&channel=%00&__proto__=x").log_in()
    expect(broken.page.locator("#tabs")).to_be_visible()


# --- live -------------------------------------------------------------------------------------------------------------


def test_live_feed_under_load(tab: Open, story: Story) -> None:
    """Every event arrives once and in order while thousands come; the page answers meanwhile."""
    page = tab("#events?types=channel.topic_change").log_in().page
    expect(page.locator(".feed-state")).to_have_text(re.compile("^Live"))
    count = 3000
    for start in range(0, count, 300):
        story.bob.sends(*(f"TOPIC #ops :number {number}" for number in range(start, start + 300)))
        page.get_by_label("What it happened to").hover()
    story.bob.until(f"TOPIC #ops :number {count - 1}")
    rows = page.get_by_role("list", name="Events, newest first").get_by_role("listitem")
    expect(rows.first).to_contain_text(f"number {count - 1}")
    numbers = [int(re.findall(r"number (\d+)", text)[-1]) for text in rows.all_text_contents()]
    assert numbers == list(range(count - 1, count - 1 - len(numbers), -1))
    assert 300 <= len(numbers) <= 500


def test_the_feed_stops_at_the_past_and_resumes_at_now(tab: Open, story: Story) -> None:
    """While one looks at the past nothing moves; at now everything that came meanwhile is there, and more comes."""
    page = tab("#events?types=channel.topic_change&target=%23flight").log_in().page
    rows = page.get_by_role("list", name="Events, newest first").get_by_role("listitem")
    expect(page.locator(".feed-state")).to_have_text(re.compile("^Live"))
    story.bob.sends("TOPIC #flight :live one")
    expect(rows.first).to_contain_text("live one")
    page.get_by_role("button", name="Event before").click()
    expect(page.get_by_text("The feed stands still: you look at the past.")).to_be_visible()
    expect(page.locator(".event.marked")).to_have_count(1)
    before = rows.all_text_contents()
    story.bob.sends("TOPIC #flight :unseen", "TOPIC #ops :elsewhere", "TOPIC #flight :ours now")
    story.bob.synchronise()
    call(story.daemon, "/admin/whoami")
    assert rows.all_text_contents() == before
    page.get_by_role("button", name="Now", exact=True).click()
    expect(rows.nth(0)).to_contain_text("ours now")
    expect(rows.nth(1)).to_contain_text("unseen")
    expect(page.locator(".feed-state")).to_have_text(re.compile("^Live"))
    story.bob.sends("TOPIC #flight :again", "TOPIC #flight :ours now")
    expect(rows.nth(1)).to_contain_text("again")
    page.get_by_role("button", name="Pause").click()
    story.bob.sends("TOPIC #flight :while paused", "TOPIC #flight :ours now")
    expect(page.get_by_text("Paused, 2 new events")).to_be_visible()
    expect(rows.nth(1)).to_contain_text("again")
    page.get_by_role("button", name="Go on").click()
    expect(rows.nth(1)).to_contain_text("while paused")


def test_what_is_shown_follows_now(tab: Open, story: Story) -> None:
    """At now the lists and details change as the server does, without a click."""
    page = tab("#channels").log_in().page
    story.ann.sends("JOIN #brandnew")
    expect(page.get_by_role("option", name="#brandnew")).to_be_visible()
    story.ann.sends("PART #brandnew")
    expect(page.get_by_role("option", name="#brandnew")).to_have_count(0)


# --- changing ---------------------------------------------------------------------------------------------------------


def test_restore(tab: Open, story: Story) -> None:
    """First what would change, then a confirmation; then the channel is as it was."""
    ann = SocketClient(story.daemon).register("founder")
    ann.sends("JOIN #taken", "TOPIC #taken :as it was", "MODE #taken +b *!*@evil.example")
    ann.synchronise()
    good = story.head()
    ann.sends("TOPIC #taken :ours now", "MODE #taken +m-b *!*@evil.example")
    ann.synchronise()
    page = tab(f"#channels?channel=%23taken&at={good}").log_in().page
    detail(page).get_by_role("button", name="Restore …").click()
    dialog = page.get_by_role("dialog", name="Restore #taken")
    expect(dialog.get_by_role("listitem").filter(has_text="topic: as it was")).to_be_visible()
    expect(dialog.get_by_role("listitem").filter(has_text="*!*@evil.example")).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    ann.sends("TOPIC #taken")
    assert ann.until(" 33[12] ").endswith(":ours now")
    detail(page).get_by_role("button", name="Restore …").click()
    expect(dialog.get_by_role("listitem").first).to_be_visible()
    dialog.get_by_role("button", name="Restore").click()
    expect(dialog).to_have_count(0)
    ann.until("TOPIC #taken :as it was")
    page.get_by_role("button", name="Now", exact=True).click()
    expect(detail(page).get_by_text("as it was")).to_be_visible()
    expect(detail(page).get_by_text("*!*@evil.example")).to_be_visible()
    expect(detail(page).get_by_text("moderated")).to_have_count(0)
    # Nothing differs any more, and there is nothing to confirm.
    page.go_back()
    detail(page).get_by_role("button", name="Restore …").click()
    expect(dialog).to_contain_text("Nothing differs")
    expect(dialog.get_by_role("button", name="Restore")).to_be_disabled()
    page.keyboard.press("Escape")
    expect(detail(page).get_by_role("button", name="Restore …")).to_be_focused()


def test_moderation(tab: Open, story: Story) -> None:
    """Topic, modes, kick, ban and kill, each asked for first; what the server refuses is told in the dialog."""
    victim = SocketClient(story.daemon).register("victim")
    victim.sends("JOIN #rowdy")
    victim.synchronise()
    page = tab("#channels?channel=%23rowdy").log_in().page
    dialog = page.get_by_role("dialog")
    detail(page).get_by_role("button", name="Topic …").click()
    dialog.get_by_label("New topic").fill("be nice")
    page.keyboard.press("Enter")
    victim.until("TOPIC #rowdy :be nice")
    expect(dialog).to_have_count(0)
    expect(detail(page).get_by_text("be nice")).to_be_visible()
    detail(page).get_by_role("button", name="Modes …").click()
    dialog.get_by_label("Changes").fill("+o nobody")
    dialog.get_by_role("button", name="Change").click()
    expect(dialog.get_by_role("alert")).to_contain_text(re.compile("nobody|nick", re.IGNORECASE))
    dialog.get_by_label("Changes").fill("+m-o victim")
    dialog.get_by_role("button", name="Change").click()
    victim.until("MODE #rowdy [+]m")
    detail(page).get_by_role("button", name="Kick …").click()
    dialog.get_by_label("Nick").fill("victim")
    dialog.get_by_label("Reason").fill("enough")
    page.keyboard.press("Enter")
    victim.until("KICK #rowdy victim :enough")
    page.get_by_role("link", name="Users").click()
    page.get_by_role("option", name="victim").click()
    detail(page).get_by_role("button", name="Kill …").click()
    dialog.get_by_label("Reason").fill("and out")
    page.keyboard.press("Enter")
    victim.until("ERROR")
    expect(page.get_by_role("option", name="victim")).to_have_count(0)
    page.get_by_role("link", name="Network bans").click()
    page.get_by_role("button", name="New ban …").click()
    dialog.get_by_label("Mask").fill("*@rowdy.example")
    dialog.get_by_label("Reason").fill("again")
    dialog.get_by_role("button", name="Ban").click()
    page.get_by_role("option", name="*@rowdy.example").click()
    expect(detail(page)).to_contain_text("admin")
    detail(page).get_by_role("button", name="Lift …").click()
    dialog.get_by_role("button", name="Lift").click()
    expect(page.get_by_role("option", name="*@rowdy.example")).to_have_count(0)


# --- trouble ----------------------------------------------------------------------------------------------------------


def test_the_server_goes_away_and_comes_back(chrome: Browser, tmp_path: Path) -> None:
    """The page keeps what it shows, says that the server is away, and goes on when it is back."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    daemon = Daemon(tmp_path)
    config = daemon.config.read_text()
    daemon.config.write_text(config.replace("[admin]\nport = 0", f"[admin]\nport = {port}"))
    with daemon:
        ann = SocketClient(daemon).register("ann")
        ann.sends("JOIN #stays", "TOPIC #stays :still here")
        ann.synchronise()
        tab = Tab(chrome, f"http://127.0.0.1:{port}", reduced_motion="reduce")
        page = tab.open("#channels?channel=%23stays").log_in().page
        expect(detail(page).get_by_text("still here")).to_be_visible()
        daemon.stop()
        expect(page.get_by_role("alert").filter(has_text="The server does not answer")).to_be_visible()
        expect(detail(page).get_by_text("still here")).to_be_visible()
        daemon.start()
        # A session ends with the server.
        expect(page.get_by_role("alert").filter(has_text="Your session has ended")).to_be_visible()
        expect(page).to_have_url(escaped("#channels?channel=%23stays"))
        tab.log_in()
        expect(page.get_by_text("did not exist at this moment")).to_be_visible()
        expect(page.get_by_role("alert").filter(has_text="does not answer")).to_have_count(0)
        assert [each for each in tab.trouble if "ERR_" not in each] == []
        tab.close()


def test_hostile_text_stays_text(tab: Open, story: Story) -> None:
    """Topics, reasons and masks of strangers are shown as they are: no markup, no formatting, nothing turned round."""
    mallory = SocketClient(story.daemon)
    mallory.sends("NICK mallory", f"USER mallory 0 * :{HOSTILE[0]}")
    mallory.until(" 422 ")
    for number, text in enumerate(HOSTILE):
        mallory.sends(f"JOIN #x{number}", f"TOPIC #x{number} :{text}", f"MODE #x{number} +b *!*@<b>{number}</b>")
    mallory.sends(f"AWAY :{HOSTILE[1]}")
    mallory.synchronise()
    page = tab("#channels?q=%23x").log_in().page
    expect(page.locator(".row")).to_have_count(len(HOSTILE))
    for number, text in enumerate(HOSTILE):
        page.get_by_role("option", name=f"#x{number}").click()
        expect(detail(page).get_by_role("heading", name=f"#x{number}")).to_be_visible()
        shown = detail(page).locator(".topic").inner_text()
        if text.isprintable():
            assert shown == text
        else:
            assert shown.isprintable()
        expect(detail(page).get_by_text(f"*!*@<b>{number}</b>")).to_be_visible()
    expect(detail(page).locator(".topic")).to_have_text(HOSTILE[-1])
    before = story.head()
    mallory.sends(f"QUIT :{HOSTILE[0]}")
    for view in ("#events", f"#users?q=mallory&at={before}", "#search?q=mallory", f"#compare?a={before}"):
        page.goto(f"{page.url.partition('#')[0]}{view}")
        expect(page.locator("#main")).to_contain_text("mallory" if view != "#events" else "onerror")
    assert page.evaluate("window.__xss") is None
    assert page.locator("#main img, #main script, #main b, #main svg").count() == 0


# --- everybody ----------------------------------------------------------------------------------------------------------


def test_keyboard_alone(tab: Open, story: Story) -> None:
    """Log in, choose a channel, step through time and come back, without a mouse."""
    page = tab().page
    expect(page.get_by_label("User")).to_be_focused()
    page.keyboard.type("admin")
    page.keyboard.press("Tab")
    page.keyboard.type("sesame")
    page.keyboard.press("Enter")
    expect(page.get_by_role("option", name="#flight")).to_be_visible()
    page.get_by_label("Filter channels").focus()
    page.keyboard.type("fli")
    expect(page.locator(".row")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    listbox = page.get_by_role("listbox", name="Channels")
    expect(listbox).to_be_focused()
    expect(listbox).to_have_attribute("aria-activedescendant", re.compile("-0$"))
    page.keyboard.press("Enter")
    expect(detail(page).get_by_role("heading", name="#flight")).to_be_visible()
    page.keyboard.press(",")
    expect(page.get_by_text("Past", exact=True)).to_be_visible()
    page.keyboard.press("n")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.reload()
    expect(page.get_by_role("option", name="#flight")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page).to_have_url(re.compile(r"#channels\?q=fli&channel=%23flight$"))


def test_narrow_screens(tab: Open, story: Story) -> None:
    """On a telephone nothing is wider than the screen; list and detail take turns."""
    page = tab(viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True).log_in().page
    page.get_by_role("option", name="#flight").click()
    expect(detail(page).get_by_role("heading", name="#flight")).to_be_visible()
    expect(page.get_by_role("listbox", name="Channels")).to_be_hidden()
    page.get_by_role("button", name="Back to the list").click()
    expect(page.get_by_role("listbox", name="Channels")).to_be_visible()
    for view in ("#channels?channel=%23flight", "#users", "#events", f"#compare?a={story.good}", "#search?q=ann"):
        page.goto(f"{page.url.partition('#')[0]}{view}")
        expect(page.locator("#main > *")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, view


def test_fifty_thousand_users(tab: Open) -> None:
    """A list of any length has the few rows in sight as elements, and can be gone through to its end."""
    one = tab()
    asked: list[int] = []

    def answer(route: Any) -> None:
        offset = int(re.search(r"offset=(\d+)", route.request.url)[1])  # type: ignore[index]
        limit = int(re.search(r"limit=(\d+)", route.request.url)[1])  # type: ignore[index]
        asked.append(offset)
        user = {
            "username": "~u",
            "host": "h",
            "account": None,
            "oper": None,
            "away": False,
            "secure": True,
            "channels": 1,
        }
        items = [
            {**user, "uid": f"001{n:06d}", "nick": f"nick{n:05d}"} for n in range(offset, min(offset + limit, 50_000))
        ]
        position = {"id": 1, "sequence": 1, "timestamp": "2026-01-01T00:00:00.000000Z"}
        document = {"position": position, "total": 50_000, "matching": 50_000, "offset": offset, "items": items}
        route.fulfill(json=document)

    one.page.route("**/admin/moment/users?**", answer)
    page = one.log_in().page
    page.get_by_role("link", name="Users").click()
    expect(page.get_by_role("option", name="nick00000")).to_be_visible()
    listbox = page.get_by_role("listbox", name="Users")
    listbox.focus()
    page.keyboard.press("End")
    expect(page.get_by_role("option", name="nick49999")).to_be_visible()
    assert page.locator(".row").count() < 60
    page.keyboard.press("PageUp")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"user=00104\d{4}"))
    assert len(asked) < 12


AXE = Axe()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(chrome: Browser, story: Story, scheme: str) -> None:
    """axe finds nothing serious on any view, in light and in dark."""
    # Axe is injected as a script, which the page's policy forbids.
    base = f"http://127.0.0.1:{story.daemon.ports['admin']}"
    one = Tab(chrome, base, color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    found: list[str] = []

    def check(view: str) -> None:
        for violation in AXE.run(one.page).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                found.extend(f"{view}: {violation['id']} {node['html'][:120]}" for node in violation["nodes"])

    page = one.open().page
    page.get_by_label("User").wait_for()
    check("log-in")
    one.log_in()
    for view, there in (
        (f"#channels?channel=%23flight&at={story.good}", ".detail .topic"),
        ("#channels?channel=%23flight", ".detail .topic"),
        (f"#users?user={story.users['ann']}", ".detail .facts"),
        ("#bans?ban=kline%20*%40bad.example", ".detail .facts"),
        ("#accounts", ".empty"),
        ("#events", ".event"),
        (f"#compare?a={story.good}&b={story.bad}", ".thing"),
        ("#search?q=ann", ".hits li"),
        ("#story?channel=%23flight", ".event"),
    ):
        one.go(view)
        expect(page.locator("#main").locator(there).first).to_be_visible()
        check(view)
    one.close()
    assert found == []
