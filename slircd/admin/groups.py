"""Importing this module fills the table of routes: one module for each group."""

from slircd.admin import actions, events, health, live, now, plugins, replay, session

__all__ = ["actions", "events", "health", "live", "now", "plugins", "replay", "session"]
