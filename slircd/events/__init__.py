"""The log: event types, clocks, codec (pure); bus, store, schema, migrations (I/O).

The pure part may be used by anybody; the bus is the one way to change the state.
"""
