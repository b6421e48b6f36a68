"""The commands of IRC: one registry, one module per family of commands.

Used by network sessions, which hand over parsed messages; handlers reply or emit decisions.
"""
