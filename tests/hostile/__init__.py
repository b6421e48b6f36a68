"""Hostile clients: each test states an attack, and holds the server to bounds on memory, work and effect on others.

Bounds are counted (bytes of queues, lines of a turn, entries of tables, resident memory, CPU time against a baseline of
the same run), never timed by the wall clock.  What can be shown in memory is shown there, on a clock that the test owns;
`test_sockets` and `test_admin_http` start the real daemon, for what only a kernel or OpenSSL can do.
"""
