"""slircd: an IRC server with a flight recorder.

Every change of its state is an event in an append-only log; the state that it serves is that log, applied.
"""
