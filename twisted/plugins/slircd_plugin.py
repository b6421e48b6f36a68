"""`twistd slircd`."""

from twisted.application.service import ServiceMaker

slircd = ServiceMaker("slircd", "slircd.app", "An IRC server with a flight recorder.", "slircd")
