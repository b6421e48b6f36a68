"""IRC on the wire, without I/O: messages and tags, numerics, ISUPPORT, case mapping, masks, mode strings.

Anybody may use it; it imports nothing of slircd but itself.
"""
