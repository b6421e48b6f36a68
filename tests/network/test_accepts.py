"""Whom users have accepted: what is remembered, and that nothing of those who are gone is."""

from slircd.network.accepts import PACE_S, AcceptLists


def test_a_full_list() -> None:
    """Who was only written to gives way, oldest first; who was asked for does not."""
    lists = AcceptLists()
    assert lists.add("ann", "a", 3, wrote=True)
    assert lists.add("ann", "b", 3)
    assert lists.add("ann", "c", 3, wrote=True)
    assert lists.add("ann", "d", 3, wrote=True)
    assert lists.accepted_by("ann") == ["b", "c", "d"]
    assert lists.add("ann", "c", 3)
    assert lists.add("ann", "d", 3, wrote=False)
    assert not lists.add("ann", "e", 3)
    assert lists.accepted_by("ann") == ["b", "c", "d"]
    assert not lists.was_asked_for("ann", "e")
    assert lists.was_asked_for("ann", "c")


def test_writing_does_not_undo_an_accept() -> None:
    """Who was asked for and is written to later stays."""
    lists = AcceptLists()
    lists.add("ann", "a", 1)
    lists.add("ann", "a", 1, wrote=True)
    assert lists.was_asked_for("ann", "a")
    assert not lists.add("ann", "b", 1)


def test_one_place_for_whom_one_wrote_to() -> None:
    """With room for one it is the newest."""
    lists = AcceptLists()
    for uid in "abc":
        assert lists.add("ann", uid, 1, wrote=True)
    assert lists.accepted_by("ann") == ["c"]


def test_nothing_stays() -> None:
    """When all are gone, whichever way, the lists are empty, and so is what stands beside them."""
    lists = AcceptLists()
    for owner, uid in (("ann", "bob"), ("ann", "eve"), ("bob", "ann"), ("eve", "bob")):
        lists.add(owner, uid, 9)
    lists.may_tell("ann", 0.0)
    assert lists.remove("ann", "eve")
    assert not lists.remove("ann", "eve")
    lists.forget("bob")
    assert not lists.allows("ann", "bob")
    lists.forget("ann")
    lists.forget("eve")
    assert (lists._lists, lists._owners, lists._told_s) == ({}, {}, {})


def test_pace() -> None:
    """One word in a minute for each owner."""
    lists = AcceptLists()
    assert lists.may_tell("ann", 100.0)
    assert not lists.may_tell("ann", 100.0 + PACE_S - 1)
    assert lists.may_tell("bob", 101.0)
    assert lists.may_tell("ann", 100.0 + PACE_S)
