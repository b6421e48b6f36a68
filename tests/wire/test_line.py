"""Lines as bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slircd.wire.line import Line, untagged
from slircd.wire.message import MAX_BODY


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=700))
def test_untagged(body: str) -> None:
    """An answer without a Line of its own is what a Line would have made of it, and never too long."""
    data = untagged(body)
    assert data == Line(body).encoded(0)
    assert len(data) <= MAX_BODY
