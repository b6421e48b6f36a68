"""Passwords, cloaked hosts, flood buckets, connection throttles, certificates.

Each takes time, randomness and threads from what it is given; none knows a session.
"""
