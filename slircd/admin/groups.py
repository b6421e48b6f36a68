"""Importing this module fills the table of routes: one module for each group."""

from slircd.admin import events, health, now, replay, session

__all__ = ["events", "health", "now", "replay", "session"]
