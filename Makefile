# Every target does its own set-up in .venv, can be repeated, and is quiet when nothing changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Written when the environment is complete: for what runs, and for what checks and tests as well.
RUN := $(VENV)/.run
BUILD := $(VENV)/.build
# What tests in a browser need beside the machine's own Chromium; `make test` has them where there is one.
BROWSER := $(VENV)/.browser
CHROMIUM := $(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name) 2>/dev/null)))
# LOCKED=1: nothing is installed whose digest requirements/ does not name, as in delivery's builds.
# INSTALLER=pip: without uv.
LOCKED ?=
INSTALLER ?= uv
# Tests side by side: more than two cores' worth, since much of their time is waiting.
JOBS ?= 3
# The loop and the tests start hundreds of processes: without its bytecode each would compile our code anew.
export PYTHONDONTWRITEBYTECODE :=
PACKAGES := console imaging inference_workflow infrastructure lambdas local_account monitoring pipelines processing reporting scones serving training

SET_UP = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "Python 3.11 or newer is needed, $$($(PYTHON) --version) was found; say which with: make PYTHON=python3.11" >&2; exit 1; } && \
	mkdir -p build && VENV=$(VENV) LOCKED=$(LOCKED) INSTALLER=$(INSTALLER) $(PYTHON) -m scones.installation

.PHONY: docs run test test-all test-browser check build lock scan clean help
.DEFAULT_GOAL := help

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(RUN) ## the whole loop on a fresh stand-in account, with real images
	@$(BIN)/scones demo $(ARGS)

test: $(BUILD) $(if $(CHROMIUM),$(BROWSER)) ## unit tests, then the loop on real images in a stand-in account
	@$(BIN)/python -m pytest -q $(or $(ARGS),-n $(JOBS) --dist loadfile -m "not slow" tests)

test-all: $(BUILD) $(if $(CHROMIUM),$(BROWSER)) ## the same, and the tests that take long
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile tests

test-browser: $(BUILD) $(BROWSER) ## the console in Chromium: every page's main action, and axe on every page
	@$(BIN)/python -m pytest -q -rs $(or $(ARGS),tests/browser)

check: $(BUILD) ## format, lint, types, import rules, how the code is kept
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary $(addprefix -p ,$(PACKAGES))
	@$(BIN)/python benchmarks/house.py --check
	@mkdir -p build && $(BIN)/lint-imports --no-cache > build/lint-imports.txt 2>&1 || { cat build/lint-imports.txt; exit 1; }

build: $(RUN) ## the artefacts that go to AWS, into build/artifacts
	@$(BIN)/scones build

docs: $(BUILD) ## the pages of docs/ as a site, into build/site
	@$(BIN)/mkdocs build --quiet --strict

lock: $(BUILD) ## the versions and digests of what containers and builds install; UPGRADE=1 for newer ones
	@$(BIN)/python -m scones.locks $(if $(UPGRADE),--upgrade)

scan: build build/checkov/bin/checkov ## what checkov finds in the stacks' templates; it is a large tool, with a .venv of its own
	@build/checkov/bin/checkov --framework cloudformation --compact --quiet --skip-download -f build/artifacts/stack.yaml build/artifacts/delivery.yaml

build/checkov/bin/checkov:
	@$(PYTHON) -m venv build/checkov
	@build/checkov/bin/pip install --quiet --disable-pip-version-check checkov==3.3.30

clean: ## remove everything that was built; data and the stand-in account's state stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage $(VENV)
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN): setup.py requirements/run.txt requirements/torch.txt
	@$(SET_UP) run
	@touch $(RUN)

$(BUILD): setup.py requirements/build.txt requirements/torch.txt
	@$(SET_UP) build
	@touch $(RUN) $(BUILD)

$(BROWSER): $(BUILD) requirements/browser.txt
	@$(SET_UP) browser
	@touch $(BROWSER)
