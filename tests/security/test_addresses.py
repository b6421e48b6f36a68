"""One client is one address, however it is written."""

from __future__ import annotations

import pytest

from slircd.security.addresses import normal_address, peer_address


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::0:1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_normal_address(text: str, normal: str) -> None:
    assert normal_address(text) == normal
    assert peer_address(text) == normal


@pytest.mark.parametrize("text", ["", "here", "192.0.2", "192.0.2.1/24", "fe80::1%eth0", "2001:db8::1%a b"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"zone|does not appear"):
        normal_address(text)


def test_the_zone_of_a_connection_is_left_out() -> None:
    """The system names the interface of a link-local neighbour; no limit and no ban goes by that."""
    assert peer_address("fe80::1%eth0") == "fe80::1"
    assert peer_address("/run/slircd.sock") == ""
