"""Benchmarks: they print JSON and assert nothing about time.  Run them by hand: `python -m tests.bench.NAME`."""
