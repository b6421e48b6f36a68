"""What is allowed: functions that read the state and yield events, or raise a numeric.

Used by the live services and by commands; they change nothing themselves and know no I/O.
"""
