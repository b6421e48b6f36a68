"""HTTP as its users expect it: statuses, headers, limits, compression; and nonsense that is never a 500."""

from __future__ import annotations

import gzip
import json
from typing import Any
from unittest import mock

from slircd.admin.openapi import document
from slircd.admin.routes import ROUTES
from tests.admin.harness import READER, AdminTestCase

BAD_TIMES = [
    "",
    "yesterday",
    "2025-13-01",
    "2025-02-30",
    "25:00",
    "-1",
    "-99999999999d",
    "1e400",
    "2025-01-01T",
    "٢٠٢٥",
]
BAD_NUMBERS = ["-1", "0x10", "1e3", "9" * 30, "٣", "", "1.5", " 1", "NaN"]
BAD_TEXTS = ["%00", "%ff%fe", "%ed%a0%80", "a" * 2000]
PATHS = [
    "/%", "/%zz", "/%ff", "//", "/admin", "/admin/", "/admin//events", "/admin/events/", "/ADMIN/events",
    "/admin/../healthz", "/admin/channels/", "/admin/channels/%00", "/admin/users/%0d%0aX", "/" + "a" * 5000,
    "/admin/channels/%23" + "%2F" * 50, "/admin/users/?#", "*", "/;a=b", "/admin/events;x",
]  # fmt: skip


class Http(AdminTestCase):
    def test_headers(self) -> None:
        """Every answer is safe to show, and has an id."""
        for answer in (self.ask("/admin/users"), self.ask("/nosuch"), self.ask("/admin/users", None)):
            self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
            self.assertIn("default-src 'none'", answer.headers["content-security-policy"])
            self.assertNotIn("access-control-allow-origin", answer.headers)
            self.assertTrue(answer.headers["x-request-id"])
        self.assertEqual(self.ask("/healthz", X_Request_ID="mine-1").headers["x-request-id"], "mine-1")
        self.assertNotEqual(self.ask("/healthz", X_Request_ID="a b").headers["x-request-id"], "a b")

    def test_problems(self) -> None:
        """A refusal is problem details, with the id of the request."""
        refused = self.ask("/admin/events?limit=0")
        self.assertTrue(refused.headers["content-type"].startswith("application/problem+json"))
        self.assertEqual(refused.json["parameter"], "limit")
        self.assertEqual(refused.json["request_id"], refused.headers["x-request-id"])

    def test_methods(self) -> None:
        """Another method is refused, and which are allowed is said; HEAD is GET without a body."""
        refused = self.ask("/healthz", method="POST")
        self.assertEqual((refused.status, refused.headers["allow"]), (405, "GET, HEAD"))
        head = self.ask("/admin/users", method="HEAD")
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["content-length"], str(len(self.ask("/admin/users").body)))

    def test_compression_and_tags(self) -> None:
        """Who takes gzip gets it; who has the answer already is told so."""
        for number in range(10):
            self.client(f"user{number}")
        plain = self.ask("/admin/users")
        packed = self.ask("/admin/users", Accept_Encoding="br, gzip;q=0.5")
        self.assertEqual(packed.headers["content-encoding"], "gzip")
        self.assertEqual(gzip.decompress(packed.body), plain.body)
        self.assertNotIn("content-encoding", self.ask("/admin/users", Accept_Encoding="gzip;q=0").headers)
        again = self.ask("/admin/users", If_None_Match=plain.headers["etag"])
        self.assertEqual((again.status, again.body), (304, b""))

    def test_what_may_be_kept(self) -> None:
        """The past for a minute, by its owner's browser; everything else not at all."""
        self.world.clock.advance(60)
        self.client("ann")
        past = self.ask("/admin/replay?at=-30s")
        self.assertEqual(past.headers["cache-control"], "private, max-age=60")
        self.assertEqual(self.ask("/admin/replay").headers["cache-control"], "no-store")
        self.assertEqual(self.ask("/admin/users").headers["cache-control"], "no-store")

    def test_limits(self) -> None:
        """An address, headers or a body that are too long are refused."""
        self.assertEqual(self.ask("/admin/events?target=" + "a" * 9000).status, 414)
        self.assertEqual(self.ask("/healthz", X_Long="a" * 13_000).status, 431)
        long = self.ask("/admin/actions/kill", method="POST", raw=b"x" * 100_000, Content_Type="application/json")
        self.assertEqual(long.status, 413)

    def test_pages(self) -> None:
        """Users, channels, accounts in pages; the Link leads through all of them once."""
        for number in range(7):
            self.client(f"user{number}").sends(f"JOIN #c{number}")
        for path, key in (("/admin/users", "uid"), ("/admin/channels", "name")):
            everything = [each[key] for each in self.ask(path).json]
            seen: list[str] = []
            link = f"{path}?limit=2"
            while link:
                answer = self.ask(link)
                seen += [each[key] for each in answer.json]
                link = answer.headers.get("link", "")[1:].partition(">")[0]
            self.assertEqual(seen, everything)

    def test_many_members(self) -> None:
        """A turn of the reactor looks at so many channels and members, and no more."""
        for number in range(6):
            self.client(f"user{number}").sends("JOIN #a,#b,#c")
        turns: list[int] = []
        later = self.world.clock.callLater

        def counted(delay: float, function: Any, *arguments: Any) -> Any:
            turns.append(1)
            return later(delay, function, *arguments)

        with mock.patch("slircd.admin.now.TURN_ROWS", 7), mock.patch.object(self.world.clock, "callLater", counted):
            answer = self.ask("/admin/channels")
        self.assertEqual([len(each["members"]) for each in answer.json], [6, 6, 6])
        self.assertGreaterEqual(len(turns), 3)

    def test_one_thing(self) -> None:
        """A channel by name, whatever its case and slashes; a user by nick or UID."""
        ann = self.client("ann")
        ann.sends("JOIN #a/b")
        self.assertEqual(self.ask("/admin/channels/%23A%2Fb").json["name"], "#a/b")
        self.assertEqual(self.ask("/admin/users/ANN").json["uid"], ann.uid)
        self.assertEqual(self.ask(f"/admin/users/{ann.uid}").json["nick"], "ann")
        self.assertEqual(self.ask("/admin/users/nobody").status, 404)
        self.assertEqual(self.ask("/admin/plugins").json, [])
        self.assertEqual(self.ask("/admin/plugins/none").status, 404)

    def test_events_newest_first(self) -> None:
        """A family of types, newest first, in pages."""
        self.client("ann").sends("JOIN #a", "PART #a")
        found: list[Any] = []
        link = "/admin/events?type=channel.*&order=desc&limit=2"
        while link:
            answer = self.ask(link)
            found += answer.json
            link = answer.headers.get("link", "")[1:].partition(">")[0]
        types = ["channel.destroy", "channel.part", "channel.join", "channel.create"]
        self.assertEqual([each["event_type"] for each in found], types)

    def test_a_stream_of_lines(self) -> None:
        """All events, packed on request, in as many pages of the log as it takes."""
        self.client("ann").sends(*(f"JOIN #c{number}" for number in range(10)))
        with mock.patch("slircd.admin.events.STREAM_BATCH", 3):
            lines = self.ask("/admin/events", Accept="application/x-ndjson").body.splitlines()
            packed = self.ask("/admin/events", Accept="application/x-ndjson", Accept_Encoding="gzip")
            newest = self.ask("/admin/events?order=desc&limit=5", Accept="application/x-ndjson").body.splitlines()
        ids = [row.id for row in self.world.store.rows]
        self.assertEqual([json.loads(line)["id"] for line in lines], ids)
        self.assertEqual(gzip.decompress(packed.body).splitlines(), lines)
        self.assertEqual([json.loads(line)["id"] for line in newest], ids[::-1][:5])

    def test_a_slow_reader_of_lines(self) -> None:
        """Pages are read from the log only when the reader has taken the ones before."""
        self.client("ann").sends(*(f"JOIN #c{number}" for number in range(20)))
        asked: list[int] = []
        ask = self.past.ask

        def counted(question: Any, **arguments: Any) -> Any:
            asked.append(1)
            return ask(question, **arguments)

        from base64 import b64encode

        basic = b64encode(READER.encode()).decode()
        with mock.patch.object(self.past, "ask", counted), mock.patch("slircd.admin.events.STREAM_BATCH", 2):
            channel, transport = self.connect()
            head = f"Host: x\r\nAuthorization: Basic {basic}\r\nAccept: application/x-ndjson\r\n"
            paused = mock.patch.object(type(transport), "writeSequence", _pausing(type(transport).writeSequence))
            with paused:
                channel.dataReceived(f"GET /admin/events HTTP/1.1\r\n{head}\r\n".encode())
                for _ in range(5):
                    self.world.turn()
                self.assertLessEqual(len(asked), 2)
            self.flush(transport)
        self.assertGreater(len(asked), 10)

    def test_keys_in_events(self) -> None:
        """Masked, but for admins who ask."""
        self.client("ann").sends("JOIN #a", "MODE #a +k secret")
        self.assertNotIn(b"secret", self.ask("/admin/events").body)
        self.assertIn(b"secret", self.ask("/admin/events?keys=show").body)
        self.assertEqual(self.ask("/admin/events?keys=show", READER).status, 403)

    def test_nonsense(self) -> None:
        """Bad dates, huge numbers, odd encodings and paths give 4xx, never 500."""
        asked = [f"/admin/{path}={value}" for path in ("events?from", "replay?at", "diff?from") for value in BAD_TIMES]
        asked += [f"/admin/{path}={v}" for path in ("events?limit", "users?limit", "stream?after") for v in BAD_NUMBERS]
        asked += [f"/admin/{path}={v}" for path in ("events?target", "blame?channel", "users?after") for v in BAD_TEXTS]
        asked += PATHS
        for path in asked:
            answer = self.ask(path.replace(" ", "%20").encode().decode("latin-1"))
            self.assertTrue(400 <= answer.status < 500, f"{path[:80]}: {answer.status}")
        self.assertEqual(self.ask("/admin/events?from=2025-01-01T00:00:00+02:00").status, 200)

    def test_wrong_credentials_of_every_kind(self) -> None:
        """What is no Authorization header is a 401."""
        for header in ("Basic", "Basic !", "Basic " + "é", "Bearer", "Bearer slircd__", "Digest x", "Basic YQ==", " "):
            with self.subTest(header=header):
                self.assertIn(self.ask("/admin/users", None, Authorization=header).status, (401, 429))


def _pausing(write: Any) -> Any:
    """A write after which the reader takes no more."""

    def paused(transport: Any, data: Any) -> None:
        write(transport, data)
        if transport.producer is not None:
            transport.producer.pauseProducing()

    return paused


def test_the_document_has_every_route() -> None:
    """Each route is in the OpenAPI document, with what it may answer, and every reference in it leads somewhere."""
    openapi = document()
    assert sum(len(path) for path in openapi["paths"].values()) >= 40
    text = json.dumps(openapi)
    for name in {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert name in openapi["components"]["schemas"]
    for route in ROUTES.values():
        if route.path.startswith("/admin") and route.tag != "page":
            path = route.path.replace("<path:", "<").replace("<", "{").replace(">", "}")
            assert "400" in openapi["paths"][path][route.method.lower()]["responses"]
