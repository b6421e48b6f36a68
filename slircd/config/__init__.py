"""Configuration: TOML to frozen, typed sections, which are handed down and never looked up from inside.

`sections` says what there is, `load` reads and checks a file, `example` writes one.
"""
