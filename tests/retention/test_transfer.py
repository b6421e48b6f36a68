"""Export and import: what comes out goes in again, and nothing else does."""

from __future__ import annotations

import gzip
import json
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slircd.events.row import Credential
from tests.retention.logs import Databases, OnPostgres, OnSQLite, lively, read, slircd, write

ROWS = lively().store.rows


class TransferContract(Databases):
    """On every database."""

    def setUp(self) -> None:
        folder: Any = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)  # type: ignore[attr-defined]
        self.folder = Path(folder.name)

    def exported(self, *words: str) -> list[dict[str, Any]]:
        url = self.new_url()
        write(url, ROWS, [Credential("ann", "argon2", "hash-of-ann")])
        file = self.folder / "log.ndjson"
        done = slircd("events", "export", "--db", url, str(file), *words)
        assert done.exit_code == 0, done.output
        assert "hash-of-ann" not in file.read_text()
        return [json.loads(line) for line in file.read_text().splitlines()]

    def test_round_trip(self) -> None:
        """A whole log comes back byte for byte, with the same digest, and the next import is refused."""
        header, *events, trailer = self.exported()
        assert header["complete"]
        assert trailer["events"] == len(events) == len(ROWS)
        url = self.new_url()
        done = slircd("events", "import", "--db", url, str(self.folder / "log.ndjson"))
        assert done.exit_code == 0, done.output
        assert read(url) == ROWS
        assert self.digest(url) == trailer["digest"]
        again = slircd("events", "import", "--db", url, str(self.folder / "log.ndjson"))
        assert again.exit_code == 1
        assert "is not empty" in again.output

    def test_up_to_a_moment(self) -> None:
        """An export up to a moment is a log, too."""
        until = ROWS[len(ROWS) // 2].timestamp
        _, *events, _ = self.exported("--to", until)
        assert 0 < len(events) < len(ROWS)
        url = self.new_url()
        assert slircd("events", "import", "--db", url, str(self.folder / "log.ndjson")).exit_code == 0
        assert read(url) == [row for row in ROWS if row.timestamp <= until]

    def test_selection(self) -> None:
        """Events of a type can be exported, but are no log."""
        header, *events, _ = self.exported("--type", "channel.join", "--target", "#help")
        assert {(event["event_type"], event["target"]) for event in events} == {("channel.join", "#help")}
        assert header["selection"] == {"event_type": "channel.join", "target": "#help"}
        done = slircd("events", "import", "--db", self.new_url(), str(self.folder / "log.ndjson"))
        assert done.exit_code == 1
        assert "line 1: this export is a selection" in done.output


class SQLiteTransfer(OnSQLite, TransferContract, unittest.TestCase):
    """In a file."""

    def test_compressed(self) -> None:
        """A name that ends in .gz gives gzip; reading finds out by itself."""
        url = self.new_url()
        write(url, ROWS)
        file = self.folder / "log.ndjson.gz"
        assert slircd("events", "export", "--db", url, str(file)).exit_code == 0
        assert len(gzip.decompress(file.read_bytes()).splitlines()) == len(ROWS) + 2
        assert file.stat().st_mode & 0o777 == 0o600
        other = self.new_url()
        assert slircd("events", "import", "--db", other, str(file)).exit_code == 0
        assert read(other) == ROWS

    def test_damage(self) -> None:
        """Each kind of damage is said with its line, and leaves no database behind."""
        self.exported()
        lines = (self.folder / "log.ndjson").read_text().splitlines(keepends=True)

        def without(number: int) -> list[str]:
            return lines[:number] + lines[number + 1 :]

        def changed(number: int, change: Callable[[dict[str, Any]], object]) -> list[str]:
            event = json.loads(lines[number])
            change(event)
            return [*lines[:number], json.dumps(event, separators=(",", ":")) + "\n", *lines[number + 1 :]]

        cases: list[tuple[list[str], str]] = [
            ([], "the file is empty"),
            (["hello\n"], "line 1: this is no export"),
            (changed(0, lambda event: event.update(slircd_export=99)), "line 1: the format is 99"),
            (lines[:-1], "without its last line"),
            ([*lines[:5], lines[5][:20]], "line 6: the file is cut off"),
            ([*lines[:5], "{}\n", *lines[6:]], "line 6: this is no event"),
            ([*lines[:5], lines[6], lines[5], *lines[7:]], "line 7: out of order"),
            (without(6), "line "),
            (changed(4, lambda event: event.update(event_type="user.nosuch")), "line 5: unknown event type"),
            (changed(4, lambda event: event["payload"].update(v=99)), "line 5: "),
            (changed(4, lambda event: event.update(timestamp="yesterday")), "line 5: 'yesterday' is no timestamp"),
            (changed(4, lambda event: event.update(session_id="x")), "the checksum is another"),
            (changed(len(lines) - 1, lambda end: end.update(digest="0" * 64)), "replay to the digest"),
            (changed(len(lines) - 1, lambda end: end.update(events=3)), "3 were exported"),
            ([*lines, "x\n"], "something behind the last line"),
            ([lines[0].replace('"schema":"', '"schema":"\udcff'), *lines[1:]], "line 1: this is no export"),
            ([*lines[:4], lines[4].replace('"v":', '"\udcff":1,"v":'), *lines[5:]], "line 5: this is no event"),
            (
                [*lines[:4], lines[4].replace('"session_id":"', '"session_id":"\udcff'), *lines[5:]],
                "line 5: this is no event",
            ),
            ([*lines[:-1], lines[-1].replace('"sha256":"', '"sha256":"\udcff')], "the last line is damaged"),
        ]
        for number, (text, expected) in enumerate(cases):
            file = self.folder / f"bad{number}"
            file.write_bytes("".join(text).encode("utf-8", "surrogateescape"))
            url = self.new_url()
            done = slircd("events", "import", "--db", url, str(file))
            assert done.exit_code == 1, (expected, done.output)
            assert expected in done.output, (expected, done.output)
            assert list(Path(url.removeprefix("sqlite:///")).parent.iterdir()) == []

    def test_a_server_uses_it(self) -> None:
        """Nothing is imported into a log that a server holds."""
        self.exported()
        url = self.new_url()
        from slircd.events.store import SQLStore

        store = SQLStore(url, call_in_reactor=print, seconds=float)
        store.open()
        self.addCleanup(store.close)
        done = slircd("events", "import", "--db", url, str(self.folder / "log.ndjson"))
        assert done.exit_code == 1
        assert "a server uses" in done.output

    def test_file_that_cannot_be_opened(self) -> None:
        """The file's name and the reason are said, and no number of an error."""
        missing, url = self.folder / "missing.ndjson", self.new_url()
        done = slircd("events", "import", "--db", url, str(missing))
        assert (done.exit_code, done.output) == (1, f"slircd events: {missing}: No such file or directory\n")
        write(url, ROWS)
        done = slircd("events", "export", "--db", url, str(self.folder))
        assert (done.exit_code, done.output) == (1, f"slircd events: {self.folder}: Is a directory\n")
        assert not list(self.folder.parent.glob(f"{self.folder.name}.*"))

    def test_stats_cut_nothing(self) -> None:
        """Where the output is no wide terminal the times are whole all the same."""
        url = self.new_url()
        write(url, ROWS)
        done = slircd("events", "stats", "--db", url)
        assert done.exit_code == 0, done.output
        assert "…" not in done.output
        assert ROWS[0].timestamp[:19] in done.output

    def test_no_log(self) -> None:
        """What is no log is said so, with an exit status of its own."""
        for command in ("export", "stats", "prune"):
            assert slircd("events", command, "--db", str(self.folder / "nosuch.db")).exit_code == 3
            (self.folder / "text.db").write_text("hello, this is no database" * 50)
            assert slircd("events", command, "--db", str(self.folder / "text.db")).exit_code == 3


class PostgresTransfer(OnPostgres, TransferContract, unittest.TestCase):
    """In PostgreSQL."""
