"""The state of the network, and the one pure function that changes it.

Used by rules (to decide), by the bus (to apply) and by replay; knows no I/O, no clock, no configuration.
"""
