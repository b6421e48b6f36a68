"""TLS certificates: a self-signed one for a first start, and the fingerprint of a peer's."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_FOR: Final = timedelta(days=3650)


def ensure_self_signed(certificate: Path, private_key: Path, host: str, now: datetime) -> str | None:
    """Make a self-signed certificate for `host` and loopback, unless either file is there.

    Returns its SHA-256 fingerprint, or None if nothing was made.  The key's file has mode 0600.
    """
    if certificate.exists() or private_key.exists():
        return None
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    alternatives: list[x509.GeneralName] = [x509.DNSName(host)]
    if host != "localhost":
        alternatives.append(x509.DNSName("localhost"))
    alternatives += [x509.IPAddress(ip_address(ip)) for ip in ("127.0.0.1", "::1")]
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _write_new(private_key, pem, 0o600)
    _write_new(certificate, built.public_bytes(Encoding.PEM), 0o644)
    return built.fingerprint(SHA256()).hex()


def _write_new(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


def now_utc(seconds: float) -> datetime:
    """The moment `seconds` after the epoch, for `ensure_self_signed`."""
    return datetime.fromtimestamp(seconds, UTC)


def peer_fingerprint(transport: Any) -> str | None:
    """SHA-256 of the client's certificate, lower-case hex; None without TLS or certificate."""
    get = getattr(transport, "getPeerCertificate", None)
    certificate = get() if get is not None else None
    if certificate is None:
        return None
    return certificate.to_cryptography().fingerprint(SHA256()).hex()  # type: ignore[no-any-return]  # transport is Any
