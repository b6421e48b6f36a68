"""Secrets are compared in constant time: how long a refusal takes tells nobody how much of a guess was right."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import slircd

SECRET = re.compile(r"passw|secret|token|digest|proof|signature|hmac|cookie|fingerprint|certfp|_hash$|\bcode$|^key$")

FINE = {
    "certificates' fingerprints are public": {
        "ctx.session.certfp not in block.certfp",
        "fingerprint in account.certfps",
        "fingerprint in other.certfps",
        "fingerprint not in entry.certfp",
    },
    "digests of the state are no secrets": {
        "this.digest == other.digest",
        "point.digest != found",
        "reader.trailer.digest not in (None, proof)",
        "digest(state) != base.digest",
    },
    "both sides are our own": {
        "user.password_hash == session.password_hash",
        "secrets[hook.section.name] == hook.secret",
        "secrets != stored",
    },
    "the id of a token is not what is secret of it": {"ADMIN_TOKENS.c.id == token_id"},
    "words with another meaning": {
        "error.code in ('INVALID_MASK', 'INVALID_PARAMS')",
        "self._tokens < 1.0",
        "self._tokens >= 1.0 - 1e-06",
        "'/' in token",
        "token not in self._protected",
        "token in self._hosts",
        "algorithm.digest_size < SHA256.digest_size",
    },
}


def compared() -> set[str]:
    """Every comparison in slircd of something that is called like a secret, but with None."""
    found = set()
    for path in Path(slircd.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Compare):
                continue
            names = [
                each.attr if isinstance(each, ast.Attribute) else getattr(each, "id", "")
                for each in (node.left, *node.comparators)
            ]
            keys = "key" in names and "params" in ast.unparse(node)
            with_none = [getattr(each, "value", ...) for each in node.comparators] == [None]
            if not with_none and (keys or any(name != "key" and SECRET.search(name) for name in names)):
                found.add(ast.unparse(node))
    return found


def test_no_secret_is_compared_by_equality() -> None:
    """What is new here uses hmac.compare_digest, or is fine for one of these reasons."""
    assert compared() == set().union(*FINE.values())
