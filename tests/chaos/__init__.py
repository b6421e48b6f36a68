"""Chaos: the real daemon under mixed load, while everything around it fails in random order.

`python -m tests.chaos --seconds 3600 --seed 1 --database sqlite` runs it; docs/security.md says what it does and what it
has found.  tests/system/test_chaos.py is the short version.
"""
