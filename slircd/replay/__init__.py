"""Time travel: what the log says of any moment, what changed between two, who set what.

It reads a log and opens no socket; used by `slircd-replay`, and by whoever asks about the past.
"""
