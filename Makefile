# Two commands for everybody:  make up   make test
# Everything lies in .venv; PYTHON names the interpreter that it is made from.

VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000
ARGS ?=
INSTALL := $(BIN)/python -m pip install --quiet --no-input --disable-pip-version-check \
	--require-hashes --no-deps
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --extra server
# Compiled once here, not by six processes at the first start.
PACKAGES := $(dir $(wildcard */__init__.py))
# The checks load the settings, which want a directory of their own.
CHECKED := MODELYARD_ENV_FILE=/dev/null MODELYARD_DATA_DIR=$(VENV)/check $(BIN)/python manage.py

.PHONY: setup setup-dev up test format check lock

setup: $(VENV)/.server

up: setup
	@exec $(BIN)/python manage.py up --port $(PORT) $(ARGS)

test: setup-dev
	@exec $(BIN)/python -m tests.run $(ARGS)

setup-dev: $(VENV)/.dev

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/djlint templates --reformat --quiet || $(BIN)/djlint templates --check --quiet

check: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/djlint templates --check --lint --quiet
	$(CHECKED) check --fail-level WARNING
	$(CHECKED) makemigrations --check --dry-run
	$(CHECKED) spectacular --validate --fail-on-warn --file /dev/null

lock: setup-dev
	$(COMPILE) --output-file requirements/server.txt
	$(COMPILE) --group dev --constraint requirements/server.txt \
		--output-file requirements/dev.txt

$(VENV)/.server: requirements/server.txt | $(BIN)/python
	@echo "Installing what Modelyard needs into $(VENV) (once) …"
	@$(INSTALL) -r requirements/server.txt
	@$(BIN)/python -m compileall -q $(PACKAGES)
	@touch $@

# The packages of the service are among these, in the same versions.
$(VENV)/.dev: requirements/dev.txt requirements/server.txt | $(BIN)/python
	@echo "Installing what the tests need into $(VENV) (once) …"
	@$(INSTALL) -r requirements/dev.txt
	@$(BIN)/python -m compileall -q $(PACKAGES)
	@touch $@ $(VENV)/.server

$(BIN)/python:
	@for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then \
			$$python -m venv --clear $(VENV) && exit 0; \
			rm -rf $(VENV); exit 1; \
		fi; \
	done; \
	echo "Python 3.11 or newer was not found. Install it, or name it: make up PYTHON=/path/to/python3" >&2; \
	exit 1
