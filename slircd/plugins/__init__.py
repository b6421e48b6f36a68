"""Plugins: what operators add to the server, in Lua that need not be trusted, or in Python that must be.

They come in through the same doors as a user: rules, bus, messages.  Only app, admin and metrics may use this package.
"""
