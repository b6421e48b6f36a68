"""The admin HTTP API: the log, any moment of it, and the server's health, over Klein.

It comes in through the same doors as everybody else: it reads the log through `replay`, the state through the server.
"""
