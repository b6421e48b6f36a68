"""What is kept: the rule for each type of event that changes no state, and the one for all that do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from slircd.config.sections import Keep
from slircd.events.types import EVENT_TYPES

STATE_FREE: Final = tuple(name for name, cls in EVENT_TYPES.items() if cls.state_free)
"""Types that `apply` ignores: each is pruned by a rule of its own."""

DAY_S: Final = 86_400


def rules_by_type(families: Mapping[str, Keep]) -> Iterator[tuple[str, Keep]]:
    """Each type that has a rule, and the most specific one of `families` (`message.*`, `oper.login`)."""
    for name in STATE_FREE:
        rule = families.get(name) or families.get(f"{name.partition('.')[0]}.*")
        if rule is not None and not rule.keeps_everything:
            yield name, rule


def family_of(event_type: str) -> str:
    """The first part of a type."""
    return event_type.partition(".")[0]
