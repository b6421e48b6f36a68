"""The work of retention from end to end, as the commands and the server's housekeeping run it."""

from __future__ import annotations

from typing import NamedTuple

from slircd.config.sections import Retention
from slircd.events import runs
from slircd.events.clock import format_timestamp
from slircd.events.types import ServerPrune, ServerRedact
from slircd.retention.database import Workplace
from slircd.retention.erasure import Request
from slircd.retention.horizon import Horizon, prune_state
from slircd.retention.owner import find_owner
from slircd.retention.prune import Progress, prune_families, quiet
from slircd.retention.pseudonyms import pseudonymise
from slircd.retention.redact import Redacted, erase, forget_old_bytes, resume, would_erase


class Pruned(NamedTuple):
    """What went, or would go."""

    families: dict[str, int]
    horizon: Horizon | None
    pseudonyms: Redacted | None = None
    """What became of old addresses."""


def prune_all(
    location: str,
    rules: Retention,
    *,
    actor: str,
    now_s: float,
    pseudonym_key: bytes = b"",
    dry_run: bool = False,
    progress: Progress = quiet,
) -> Pruned:
    """Go by all rules, and write that into the log; before, an erasure that was killed is brought to its end.

    `actor` is who asked for it, `now_s` seconds since the epoch, `pseudonym_key` is needed for pseudonyms.  Raises
    LogError, Damaged, DamagedBase.
    """
    with Workplace(location) as place:
        if dry_run:
            families = prune_families(place, rules.families, now_s=now_s, dry_run=True)
            return Pruned(families, prune_state(place, rules.state, now_s=now_s, dry_run=True))
        owner = find_owner(place)
        try:
            place.pace.pause = owner.is_server
            resume(place, progress)
            with place.changing() as connection:
                run = runs.begin(connection, "prune", format_timestamp(now_s))
            state = runs.FAILED
            try:
                families = prune_families(place, rules.families, now_s=now_s, progress=progress)
                horizon = prune_state(place, rules.state, now_s=now_s, progress=progress)
                pseudonyms = None
                if rules.pseudonymise_days:
                    days = rules.pseudonymise_days
                    pseudonyms = pseudonymise(place, days, pseudonym_key, now_s=now_s, progress=progress)
                done = Pruned(families, horizon, pseudonyms)
                events = sum(families.values()) + (0 if horizon is None else horizon.pruned)
                if events:
                    event = ServerPrune(actor_uid=actor, nick="", events=events)
                    if horizon is not None:
                        event = ServerPrune(
                            actor_uid=actor,
                            nick="",
                            events=events,
                            horizon_id=horizon.event_id,
                            horizon=horizon.timestamp,
                        )
                    owner.record(run, event)
                if pseudonyms is not None and pseudonyms.events:
                    told = ServerRedact(
                        actor_uid=actor,
                        nick="",
                        what="addresses",
                        events=pseudonyms.events,
                        checkpoints=pseudonyms.checkpoints,
                    )
                    owner.record(run, told)
                    forget_old_bytes(place, thoroughly=not owner.is_server)
                state = runs.DONE
            finally:
                with place.changing() as connection:
                    runs.end(connection, run, state)
            return done
        finally:
            owner.close()


def redact(
    location: str, request: Request, *, actor: str, now_s: float, dry_run: bool = False, progress: Progress = quiet
) -> Redacted:
    """Erase somebody; see retention.redact.

    `actor` is who asked for it, `now_s` seconds since the epoch.  Raises LogError, Damaged, DamagedBase.
    """
    with Workplace(location) as place:
        if dry_run:
            return would_erase(place, request, progress=progress)
        owner = find_owner(place)
        try:
            place.pace.pause = owner.is_server
            resume(place, progress)
            return erase(place, owner, request, actor=actor, now_s=now_s, progress=progress)
        finally:
            owner.close()
