# townsquare: what one would guess. Every target sets up what it needs; none needs another first.
# On a fresh machine only Python 3.11+ with venv, and make, are assumed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.townsquare-setup

.PHONY: help setup build up test check format bench docs lock clean

help: ## Show this list.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## Make .venv with everything in it, from the lock file.

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "townsquare needs Python 3.11 or later; set PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

build: setup ## Build whatever is not Python (nothing yet: the web front end will be built here).

up: build ## Start the platform on http://127.0.0.1:8000 with an embedded PostgreSQL.
	$(BIN)/townsquare up

test: setup ## Run all tests, against real servers.
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: setup ## Lint, format check, types, import rules, SQL, dependencies.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/squawk $$(find src -name '*.sql')
	$(BIN)/deptry .

format: setup ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## Measure against named peers; results go to bench/results and docs/reference/benchmarks.md.
	$(BIN)/python -m bench

docs: setup ## Make the generated reference pages in docs/reference.
	$(BIN)/python -m townsquare.reference docs/reference

lock: setup ## Resolve the dependencies anew.
	$(BIN)/uv pip compile --group dev --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
		--upgrade --quiet pyproject.toml --output-file requirements.lock

clean: ## Remove what the other targets made (not your data).
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
