"""Importing this module fills the table of routes: a line for each module with a group."""

from slircd.admin import actions as actions
from slircd.admin import events as events
from slircd.admin import health as health
from slircd.admin import live as live
from slircd.admin import moment as moment
from slircd.admin import now as now
from slircd.admin import openapi as openapi
from slircd.admin import page as page
from slircd.admin import plugins as plugins
from slircd.admin import replay as replay
from slircd.admin import search as search
from slircd.admin import session as session
from slircd.admin import story as story
from slircd.admin import timeline as timeline
