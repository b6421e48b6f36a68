"""Fuzzing: what the server reads from strangers, given bytes that nobody would send.

A target is a function of bytes that fails if its property does not hold.  The same targets are driven by Hypothesis and
by the kept corpora (`test_targets`), as a part of the test suite, and by coverage (`python -m tests.fuzz.run`), for as
long as one likes.  `python -m tests.fuzz.server` does the same for a whole server with many clients.
"""
