"""schemathesis against the real daemon: what the OpenAPI document says is what the API does."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import requests
from hypothesis import HealthCheck, settings

from slircd.admin.openapi import document
from tests.system.daemon import Daemon, SocketClient
from tests.system.test_admin import authorization

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.checks import CHECKS

pytestmark = pytest.mark.system

# Not among them: what only means an application with sessions in cookies, and that every value of a type is taken,
# because moments have to lie in the log and patterns have to be expressions.
WANTED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
schema = schemathesis.openapi.from_dict(document()).exclude(path_regex=r"^/admin/(live|stream|session)$")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A server on which something has happened."""
    with Daemon(tmp_path_factory.mktemp("openapi")) as daemon:
        ann = SocketClient(daemon).register("ann")
        ann.sends("JOIN #c", "MODE #c +k secret", "TOPIC #c :hello", "MODE #c +b bad!*@*")
        ann.synchronise()
        yield daemon


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """One connection for all requests."""
    with requests.Session() as session:
        yield session


@schema.parametrize()
@settings(
    max_examples=4,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_the_document_is_kept(case: schemathesis.Case, daemon: Daemon, session: requests.Session) -> None:
    """No answer but those that the document promises, whatever is sent."""
    case.call_and_validate(
        base_url=f"http://127.0.0.1:{daemon.ports['admin']}",
        headers=authorization("admin:sesame"),
        session=session,
        checks=[CHECKS.get_one(name) for name in WANTED],
    )
