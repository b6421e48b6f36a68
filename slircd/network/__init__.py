"""The live side: listeners, connections, sessions, and what they are shown.

Used by app, which builds it; it reads the state, changes it only through the bus, and renders what the bus applied.
"""
