"""The admin side: the HTTP API over Klein, the live feed, webhooks, and the processes that read the log for them.

It comes in through the same doors as everybody else: it decides by the rules and emits to the bus, it reads the log
through `replay` in processes of its own (`pool`), the state through the server.  `routes` is the table of what it
answers; `service` is its place in the tree.
"""
