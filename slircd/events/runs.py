"""Work of retention as the log's database knows it: the table `retention_runs`.

A run is one prune, one round of pseudonyms, one erasure.  Its row says that it is under way, so that whoever replays the
log meanwhile knows that what it read may not fit together; and it carries what the work asks of the server that holds
the log, which looks here, and its answer.  `question` and `plan` hold what an erasure is about; they are emptied as soon
as they are not needed any more.

The functions take a connection and neither begin nor end a transaction.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import Connection, func, insert, inspect, select, update

from slircd.events import checkpoints
from slircd.events.schema import RETENTION_RUNS

RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"

BEGIN: Final = "begin"
FINISH: Final = "finish"
RECORD: Final = "record"


class Asked(NamedTuple):
    """What a run asks of the server."""

    run: int
    ask: str
    question: bytes


class Generation(NamedTuple):
    """Two of these that are equal and quiet: no retention has touched the log between them."""

    newest: int
    under_way: int
    finished: int
    """Erasures under way that have rewritten the state of now, and go on with what is older."""
    base: int
    """The event at which the log begins."""

    @property
    def quiet(self) -> bool:
        """Whether nothing is under way."""
        return not self.under_way


def generation(connection: Connection) -> Generation:
    """How retention stands; for whoever replays, before and after."""
    if not inspect(connection).has_table(RETENTION_RUNS.name):
        return Generation(0, 0, 0, 0)  # a log of an old version
    newest = connection.execute(select(func.max(RETENTION_RUNS.c.id))).scalar() or 0
    counted = select(RETENTION_RUNS.c.plan != b"").where(RETENTION_RUNS.c.state == RUNNING)
    running = connection.execute(counted).scalars().all()
    base = checkpoints.find_base(connection)
    return Generation(newest, len(running), sum(map(bool, running)), 0 if base is None else base.event_id)


def begin(connection: Connection, kind: str, timestamp: str) -> int:
    """A run of some kind begins; its id.  Runs that were killed, and have nothing to be gone on with, end."""
    killed = (RETENTION_RUNS.c.state == RUNNING) & (RETENTION_RUNS.c.plan == b"")
    connection.execute(update(RETENTION_RUNS).where(killed).values(state=FAILED, ask="", question=b""))
    row = {"kind": kind, "state": RUNNING, "began_at": timestamp, "ask": "", "question": b"", "answer": "", "plan": b""}
    made = connection.execute(insert(RETENTION_RUNS).values(row)).inserted_primary_key
    return int(made[0]) if made is not None else 0


def end(connection: Connection, run: int, state: str) -> None:
    """A run is over, and nothing is left of what it was about."""
    values = {"state": state, "ask": "", "question": b"", "answer": "", "plan": b""}
    connection.execute(update(RETENTION_RUNS).where(RETENTION_RUNS.c.id == run).values(values))


def keep_plan(connection: Connection, run: int, plan: bytes) -> None:
    """Note what a run must do to its end, whoever is killed."""
    connection.execute(update(RETENTION_RUNS).where(RETENTION_RUNS.c.id == run).values(plan=plan))


def unfinished(connection: Connection) -> tuple[int, bytes] | None:
    """A run that was killed and has to be gone on with, and its plan."""
    query = select(RETENTION_RUNS.c.id, RETENTION_RUNS.c.plan)
    query = query.where(RETENTION_RUNS.c.state == RUNNING, RETENTION_RUNS.c.plan != b"")
    found = connection.execute(query.order_by(RETENTION_RUNS.c.id).limit(1)).first()
    return None if found is None else (found.id, bytes(found.plan))


def ask(connection: Connection, run: int, what: str, question: bytes) -> None:
    """Ask the server for something."""
    values = {"ask": what, "question": question, "answer": ""}
    connection.execute(update(RETENTION_RUNS).where(RETENTION_RUNS.c.id == run).values(values))


def take(connection: Connection) -> Asked | None:
    """What is asked, by the oldest run that asks something."""
    columns = (RETENTION_RUNS.c.id, RETENTION_RUNS.c.ask, RETENTION_RUNS.c.question)
    query = select(*columns).where(RETENTION_RUNS.c.ask != "").order_by(RETENTION_RUNS.c.id).limit(1)
    found = connection.execute(query).first()
    return None if found is None else Asked(found.id, found.ask, bytes(found.question))


def answer(connection: Connection, run: int, text: str) -> None:
    """Answer a run, which asks nothing any more."""
    values = {"ask": "", "question": b"", "answer": text}
    connection.execute(update(RETENTION_RUNS).where(RETENTION_RUNS.c.id == run).values(values))


def answer_of(connection: Connection, run: int) -> str:
    """The answer to what was asked last; empty while there is none."""
    found = connection.execute(select(RETENTION_RUNS.c.answer).where(RETENTION_RUNS.c.id == run)).scalar()
    return found or ""
