"""What each event becomes is complete: every class has an applier or is state-free, a renderer or is invisible."""

import pytest

from slircd.events.types import EVENT_TYPES, Event
from slircd.network.render import INVISIBLE, RENDERERS
from slircd.state.apply import APPLIERS


@pytest.mark.parametrize("cls", EVENT_TYPES.values(), ids=lambda cls: cls.event_type)
def test_every_event_has_its_places(cls: type[Event]) -> None:
    """No class is forgotten, and none is in two places that exclude each other."""
    assert (cls in APPLIERS) != cls.state_free
    assert (cls in RENDERERS) != (cls in INVISIBLE)
    assert cls.__doc__
