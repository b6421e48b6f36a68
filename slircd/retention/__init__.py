"""How long the log keeps what: pruning, pseudonyms, erasure, export, import, figures.

The command `slircd events` and the daemon's housekeeping use it; nothing else does.  Replay of what remains is right
at every moment, also when the work is killed half-way.
"""
