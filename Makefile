# dws: `make` lists the targets. Everything runs in .venv, which the first target makes.
PYTHON ?= python3
BIN := .venv/bin
DEMO := outputs/demo

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow check format lint types contracts build clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- environment ---------------------------------------------------------------------------------

.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"make: expected Python >= 3.11, got {v[0]}.{v[1]}; set PYTHON=python3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# --- demo: two small zoos, two metanets on each ---------------------------------------------------

ZOOS := mnist sine
MODELS := dwsnet mlp
DEMO_ZOOS := $(ZOOS:%=$(DEMO)/zoos/%/manifest.json)
DEMO_RESULTS := $(foreach z,$(ZOOS),$(foreach m,$(MODELS),$(DEMO)/runs/$z/$m/result.json))

demo: $(DEMO_RESULTS) ## zoos of sines and digits, DWSNet against an MLP, t-SNE, one table
	@for file in $(DEMO_ZOOS) $(DEMO_RESULTS); do echo "done: $$file"; done
	@echo
	@$(BIN)/dws-report scale=demo

# order-only prerequisites: what is there is kept, whatever its age
$(DEMO)/zoos/%/manifest.json: | .venv/installed
	$(BIN)/dws-fit-inrs scale=demo zoo=$*

define demo_run
$(DEMO)/runs/$1/$2/result.json: | $(DEMO)/zoos/$1/manifest.json
	$(BIN)/dws-train scale=demo task=$1 model=$2 run_dir=$(DEMO)/runs/$1/$2
	$(BIN)/dws-evaluate run=$(DEMO)/runs/$1/$2
endef
$(foreach z,$(ZOOS),$(foreach m,$(MODELS),$(eval $(call demo_run,$z,$m))))

# --- checks ---------------------------------------------------------------------------------------

test: .venv/installed ## all tests but the slow ones and those that need a GPU
	$(BIN)/pytest -n 2 -m 'not slow and not gpu'

test-slow: .venv/installed ## the tests that take minutes or need the network
	$(BIN)/pytest -m slow

check: format lint types contracts test ## format, lint, types, import contracts, tests

format: .venv/installed ## is the code formatted?
	$(BIN)/ruff format --check

lint: .venv/installed ## ruff
	$(BIN)/ruff check

types: .venv/installed ## mypy, strict
	$(BIN)/mypy

contracts: .venv/installed ## which module may import which
	$(BIN)/lint-imports --no-cache

build: .venv/installed ## a wheel in dist/
	$(BIN)/pip wheel --no-deps --quiet --wheel-dir dist .

clean: ## remove the environment and caches; outputs/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
