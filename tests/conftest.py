"""One PostgreSQL for all tests that want it."""

from __future__ import annotations

import pytest

from tests.postgres import running

postgres = pytest.fixture(scope="session")(running)
