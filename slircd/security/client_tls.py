"""TLS to others: every outgoing connection verifies whom it talks to."""

from __future__ import annotations

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import optionsForClientTLS


def client_tls(host: str) -> IOpenSSLClientConnectionCreator:
    """TLS to `host`, whose certificate is verified against the system's roots and against its name.

    The verification is service-identity's, which Twisted uses; all outgoing TLS of slircd is made here.
    """
    return optionsForClientTLS(host)
