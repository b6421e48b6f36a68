"""The JSON schema of what `slircd-replay` prints; docs/slircd-replay.schema.json is made from it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from slircd.replay.against import Comparison
from slircd.replay.blame import Blamed
from slircd.replay.diff import StateDiff
from slircd.replay.document import ServerSnapshot
from slircd.replay.verify import Verification

SHAPES: Final = (ServerSnapshot, StateDiff, Blamed, Verification, Comparison)


def json_schema() -> dict[str, Any]:
    """The schema (2020-12) of the document of a moment; its $defs have those of the other options' output, too."""
    _, components = msgspec.json.schema_components(SHAPES, ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "slircd-replay",
        "description": "What slircd-replay prints: ServerSnapshot; with --diff StateDiff; with --blame a list of "
        "Blamed; with --verify Verification; with --against Comparison.",
        "$ref": "#/$defs/ServerSnapshot",
        "$defs": dict(sorted(components.items())),
    }
