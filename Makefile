# Needs make and a Python of at least 3.11, and nothing else: every target sets up .venv for itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
RUNNABLE := $(VENV)/.runnable
INSTALLED := $(VENV)/.installed
ATONCE ?= 6
SECONDS ?= 30
# What tells soonest that a dependency is too old: all routes, the contract, tracing, the client, and clew up with the SDK.
TELLING := tests/unit/test_http_openapi.py tests/unit/test_tracing.py tests/unit/test_infrastructure.py \
  tests/unit/test_alerts.py tests/contract/test_exported_contract.py::test_the_checked_in_contract_is_what_the_types_say \
  tests/live/test_client_examples.py::test_the_program_with_the_client_runs \
  tests/live/test_cli_up.py::test_the_openai_sdk_creates_retrieves_updates_and_deletes_threads

# What tests of adapters need beside the frameworks.
TOOLS := 'hypothesis>=6.150' 'pytest>=9' 'pytest-asyncio>=1.3' 'pytest-timeout>=2.4' 'pytest-xdist>=3.8'

# Tests start hundreds of processes, and Python would compile all of Clew anew in each.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help install run test check lowest test-lowest soak bench bench-peers schema lock clean

help: ## Say what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1	\2/p' Makefile

install: $(INSTALLED) ## Set up .venv with Clew and everything for its tests, at the versions of requirements.lock

run: $(RUNNABLE) ## Start all of Clew on this machine; ARGS="--http 127.0.0.1:0" passes options
	@exec $(BIN)/clew up $(ARGS)

# mypy takes a minute of one core, so the tests begin meanwhile, and what it said comes after them. The first time they
# are collected once before, which compiles them: else each of the processes that run them would.
test: $(INSTALLED) ## Check format, lint and types, and run all tests, ATONCE=6 at a time; ARGS="-k replay" chooses some
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --quiet .
	@said=$$(mktemp); trap 'rm -f "$$said"' EXIT; \
	$(BIN)/mypy --no-error-summary >"$$said" 2>&1 & types=$$!; \
	[ -d tests/__pycache__ ] || $(BIN)/pytest --quiet --quiet --collect-only $(ARGS) >/dev/null 2>&1; \
	echo "$(BIN)/pytest --quiet --numprocesses $(ATONCE)" $(ARGS); \
	$(BIN)/pytest --quiet --numprocesses $(ATONCE) $(ARGS); tested=$$?; \
	wait $$types; typed=$$?; cat "$$said"; \
	[ $$typed = 0 ] || { echo "mypy found what stands above" >&2; exit $$typed; }; exit $$tested

check: $(INSTALLED) ## Check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary

# The bounds in pyproject.toml are promises, and the lock is far above them.
lowest: $(INSTALLED) ## Run the tests that ARGS names, or a telling few, with the lowest versions that pyproject.toml allows
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/lowest
	@$(UV) pip install --quiet --python $(VENV)/lowest/bin/python --resolution lowest-direct \
	  --editable '.[server,otel]' --group dev
	$(VENV)/lowest/bin/pytest --quiet --numprocesses 2 $(or $(ARGS),$(TELLING))

# Frameworks move fast, and those of last month warn of what has been deprecated since.
test-lowest: $(INSTALLED) ## Run the tests of the adapters with the lowest versions of the frameworks that pyproject.toml allows
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/lowest
	@$(UV) pip install --quiet --python $(VENV)/lowest/bin/python --resolution lowest-direct \
	  --editable '.[server,adk,agent-framework,agents,chatkit,langchain]' $(TOOLS)
	$(VENV)/lowest/bin/pytest --quiet --numprocesses 2 -W ignore::DeprecationWarning $(or $(ARGS),tests/adapters)

soak: $(INSTALLED) ## Run what has no end for SECONDS=30 each: clients, kills and losses at random
	CLEW_SOAK_SECONDS=$(SECONDS) $(BIN)/pytest --quiet --numprocesses $(ATONCE) -m soak $(ARGS)

bench: $(INSTALLED) ## Measure, against raw NATS on the same machine
	@$(BIN)/python -m bench $(ARGS)

bench-peers: $(INSTALLED) ## Race Clew and others on this machine, and write bench/results and the README's table
	@$(BIN)/python -m bench.peers $(ARGS)

schema: $(INSTALLED) ## Write docs/contract and docs/client.md anew from the types, and golden bytes of new events
	@$(BIN)/python -m clew_events.contract.contract_files docs/contract
	@$(BIN)/python -m clew_events.contract.client_reference docs/client.md
	@$(BIN)/python tests/golden/new_files.py

lock: $(INSTALLED) ## Write requirements.lock anew from pyproject.toml; ARGS=--upgrade takes newer versions
	@$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	  --all-extras --group dev --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --output-file requirements.lock $(ARGS)
	@$(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	  --extra server --extra otel --group build --no-emit-index-url --no-emit-find-links \
	  --constraint requirements.lock --custom-compile-command "make lock" --output-file requirements-run.lock

clean: ## Remove .venv and everything else that was made here, except data
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Running needs a part of requirements.lock, at the same versions. Who has all of it has that part.
$(RUNNABLE): requirements-run.lock pyproject.toml
	@$(call set_up,requirements-run.lock)
	@touch $@

$(INSTALLED): requirements.lock pyproject.toml
	@$(call set_up,requirements.lock)
	@touch $(RUNNABLE) $@

# uv takes seconds where pip takes a minute, and does not read pip's settings: it is told the index, the certificate and
# the folders that are set for pip. Files are locked by hash, so any index may serve them.
UV := settings=$$($(BIN)/python -m pip config list) || exit; export UV_INDEX_STRATEGY=unsafe-best-match; \
  for each in UV_DEFAULT_INDEX=index-url UV_INDEX=extra-index-url UV_FIND_LINKS=find-links UV_NO_INDEX=no-index \
    UV_INSECURE_HOST=trusted-host SSL_CERT_FILE=cert; do \
    value=$$(printf '%s\n' "$$settings" | sed -nE "s/^(:env:|global|install)\.$${each\#*=}='(.*)'$$/\2/p" | \
      sed '1!d; s/\\n/ /g; s/^ //'); \
    [ -z "$$value" ] || printenv "$${each%%=*}" >/dev/null || export "$${each%%=*}=$$value"; \
  done; $(BIN)/uv

define set_up
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
  echo "Clew needs Python 3.11 or newer, and '$(PYTHON)' is not: make $(or $(MAKECMDGOALS),install) PYTHON=python3.13" >&2; \
  exit 1; }
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
  echo "'$(PYTHON)' cannot make virtual environments: install its venv module (on Debian: python3-venv)" >&2; \
  exit 1; }
@echo "Setting up $(VENV), which takes a moment the first time" >&2
@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
@awk '/^[^ ]/ { wanted = /^uv==/ } wanted' requirements.lock >$(VENV)/uv.lock
@$(PIP) install --no-deps --require-hashes --requirement $(VENV)/uv.lock
@( $(UV) pip install --quiet --python $(BIN)/python --require-hashes --requirement $(1) \
  ) || { echo "uv cannot install it, as it says above, so pip does, which takes a minute" >&2; \
  $(PIP) install --require-hashes --requirement $(1) \
  ; }
@$(PIP) install --no-deps --no-build-isolation --editable .
endef
