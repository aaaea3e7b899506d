# Every target does its own set-up in .venv, can be repeated, and is quiet when nothing changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# LOCKED=1: exactly the packages of requirements-build.txt, as delivery's builds do (Python 3.11 on Linux x86_64).
LOCKED ?=
PACKAGES := console imaging inference_workflow infrastructure lambdas local_account monitoring pipelines processing reporting scones serving training

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# First setuptools, from the lock as well: with it what comes as source is built, so that nothing else is fetched.
INSTALL_LOCKED := sed -n '/^setuptools==/,/[^\\]$$/p' requirements-build.txt > $(VENV)/setuptools.txt && \
	$(INSTALL) --require-hashes --requirement $(VENV)/setuptools.txt && \
	$(INSTALL) --require-hashes --no-build-isolation --requirement requirements-build.txt && \
	$(INSTALL) --no-deps --no-build-isolation --no-index --editable .

.PHONY: run test test-all check build lock scan clean help
.DEFAULT_GOAL := help

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP) ## the whole loop on a fresh stand-in account, with real images
	@$(BIN)/scones demo $(ARGS)

test: $(STAMP) ## unit tests, then the loop on real images in a stand-in account
	@$(BIN)/python -m pytest -q $(or $(ARGS),-n 2 --dist loadfile -m "not slow" tests/unit tests/local)

test-all: $(STAMP) ## the same, and the tests that take long
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile tests/unit tests/local

check: $(STAMP) ## format, lint, types, import rules, how the code is kept
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary $(addprefix -p ,$(PACKAGES))
	@$(BIN)/python benchmarks/house.py --check
	@mkdir -p build && $(BIN)/lint-imports --no-cache > build/lint-imports.txt 2>&1 || { cat build/lint-imports.txt; exit 1; }

build: $(STAMP) ## the artefacts that go to AWS, into build/artifacts
	@$(BIN)/scones build

lock: $(STAMP) ## the versions and digests of what containers and builds install; UPGRADE=1 for newer ones
	@$(BIN)/python -m scones.locks $(if $(UPGRADE),--upgrade)

scan: build build/checkov/bin/checkov ## what checkov finds in the stacks' templates; it is a large tool, with a .venv of its own
	@build/checkov/bin/checkov --framework cloudformation --compact --quiet --skip-download -f build/artifacts/stack.yaml build/artifacts/delivery.yaml

build/checkov/bin/checkov:
	@$(PYTHON) -m venv build/checkov
	@build/checkov/bin/pip install --quiet --disable-pip-version-check checkov==3.3.30

clean: ## remove everything that was built; data and the stand-in account's state stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage $(VENV)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): setup.py pyproject.toml $(if $(LOCKED),requirements-build.txt)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, $$($(PYTHON) --version) was found; say which with: make PYTHON=python3.11" >&2; exit 1; }
	@echo "Setting up $(VENV) (once; about a minute and a half)..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(if $(LOCKED),$(INSTALL_LOCKED),$(INSTALL) --editable '.[dev]')
	@mkdir -p build
	@touch $(STAMP)
