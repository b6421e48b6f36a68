"""The child's side of a Lua plugin.  Runs in a process of its own and imports nothing else of slircd."""
