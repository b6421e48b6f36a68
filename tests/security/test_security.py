"""Buckets, throttles, cloaks, passwords, certificates, secrets."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from slircd.config.load import ConfigError
from slircd.secrets import load_or_create
from slircd.security.certificates import ensure_self_signed
from slircd.security.cloak import Cloak
from slircd.security.flood import Bucket
from slircd.security.passwords import hash_now, verify_now

NOW = datetime(2025, 1, 1, tzinfo=UTC)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=50))
def test_bucket_never_gives_more_than_it_has(waits: list[float]) -> None:
    """In any time t at most burst + rate * t tokens are taken, and waiting as told suffices."""
    bucket = Bucket(4, 2.0, 0.0)
    now = 0.0
    for taken, wait in enumerate(waits, 1):
        now += wait
        delay = bucket.take(now)
        if delay:
            assert bucket.take(now + delay) == 0.0
            now += delay
        assert taken <= 4 + 2.0 * now + 1e-3


def test_cloaks() -> None:
    """Neighbours share the right-hand parts, keys matter, loopback is localhost, every cloak is a host of 63 at most."""
    cloak = Cloak(b"k" * 32, "users.example").cloak
    one, two, far = cloak("192.0.2.1"), cloak("192.0.2.2"), cloak("203.0.113.1")
    assert one.split(".")[1:] == two.split(".")[1:]
    assert one.split(".")[0] != two.split(".")[0]
    assert one.split(".")[2] != far.split(".")[2]
    assert cloak("2001:db8::1") == cloak("2001:db8::2")
    assert cloak("2001:db8::1") != cloak("2001:db8:0:1::1")
    assert Cloak(b"x" * 32, "users.example").cloak("192.0.2.1") != one
    assert cloak("127.0.0.1") == cloak("::1") == cloak("") == "localhost"
    assert max(len(cloak(ip)) for ip in ("192.0.2.1", "2001:db8::1")) <= 63


def test_passwords() -> None:
    """argon2id; wrong passwords and things that are no hash are just wrong."""
    hashed = hash_now("pässword", "minimum")
    assert hashed.startswith("$argon2id$")
    assert verify_now(hashed, "pässword")
    assert not verify_now(hashed, "password")
    assert not verify_now("nonsense", "x")


def test_self_signed(tmp_path: Path) -> None:
    """Made once, for the host and loopback, its key for nobody else; what is there is never touched."""
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    assert ensure_self_signed(certificate, key, "irc.example.org", NOW)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["irc.example.org", "localhost"]
    before = certificate.read_bytes(), key.read_bytes()
    key.chmod(0o400)
    assert ensure_self_signed(certificate, key, "other.example", NOW) is None
    assert (certificate.read_bytes(), key.read_bytes()) == before


def cheap(password: str) -> str:
    return hash_now(password, "minimum")


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """Generated passwords are given out at the first start only; the file holds hashes and is for its owner."""
    path = tmp_path / "secrets.toml"
    first = load_or_create(path, {}, cheap, verify_now)
    assert set(first.generated) == {"admin", "oper"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not any(password in path.read_text() for password in first.generated.values())
    assert verify_now(first.secrets.oper_password_hash, first.generated["oper"])
    assert load_or_create(path, {}, cheap, verify_now) == (first.secrets, {})


def test_secrets_from_the_environment(tmp_path: Path) -> None:
    """Variables set passwords, change them later, and leave the cloak key alone."""
    path = tmp_path / "secrets.toml"
    environ = {"SLIRCD_ADMIN_PASSWORD": "a", "SLIRCD_OPER_PASSWORD": "o"}
    first = load_or_create(path, environ, cheap, verify_now)
    assert first.generated == {}
    again = load_or_create(path, environ, cheap, verify_now)
    assert again == first
    changed = load_or_create(path, environ | {"SLIRCD_OPER_PASSWORD": "new"}, cheap, verify_now)
    assert verify_now(changed.secrets.oper_password_hash, "new")
    assert changed.secrets.admin_password_hash == first.secrets.admin_password_hash
    assert changed.secrets.cloak_key == first.secrets.cloak_key


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [("", 0o600, "is damaged"), ("not toml", 0o600, "cannot be read"), ("", 0o644, "mode 0644")],
)
def test_bad_secrets_files(tmp_path: Path, text: str, mode: int, why: str) -> None:
    """A damaged file, or one that others can read, stops the start with words."""
    path = tmp_path / "secrets.toml"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=why):
        load_or_create(path, {}, cheap, verify_now)
