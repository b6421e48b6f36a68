"""Which version of slircd this is."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _version


@cache
def version() -> str:
    """The version of the installed distribution; `0+unknown` where it runs without being installed."""
    try:
        return _version("slircd")
    except PackageNotFoundError:
        return "0+unknown"
