# `make run` and `make test` are all that a new machine needs, with Python 3.11 or later and make.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.installed

.PHONY: run test lint audit lock clients clean

run: $(READY)
	$(BIN)/twistd -n slircd

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml slircd
	mkdir -p build && rm -f build/check.db
	$(BIN)/alembic -x url=sqlite:///build/check.db upgrade head
	$(BIN)/alembic -x url=sqlite:///build/check.db check

# Known vulnerabilities of what deploy/requirements.txt names.
audit: $(READY)
	$(BIN)/python deploy/audit.py

# The versions, with their hashes, that the image is made of, as new as setup.cfg allows.
lock: $(READY)
	$(BIN)/uv pip compile setup.cfg --extra postgresql --upgrade --universal --python-version 3.11 --generate-hashes \
		--no-annotate --no-header --no-emit-index-url --quiet --output-file deploy/requirements.txt

# JavaScript clients that some tests run; those tests are skipped where they are not installed.
clients:
	mkdir -p build/clients
	cp tests/clients/package.json tests/clients/package-lock.json tests/clients/.npmrc build/clients/
	npm ci --prefix build/clients --ignore-scripts --silent

# One environment for all three: what tests and linters need is small beside Twisted itself.
$(READY): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "slircd needs Python 3.11 or later: make PYTHON=python3.11 run")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test,dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
