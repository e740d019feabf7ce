# dws: `make` lists the targets. Everything runs in .venv, which the first target makes.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help reproduce-all reproduce-plan demo test test-slow gpu-check check format lint types contracts docs build clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- environment ---------------------------------------------------------------------------------

# exact versions; make CONSTRAINTS= installs the newest that pyproject.toml allows
CONSTRAINTS ?= constraints.txt

.venv/installed: pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"make: expected Python >= 3.11, got {v[0]}.{v[1]}; set PYTHON=python3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check $(CONSTRAINTS:%=--constraint %) --editable '.[dev]'
	@touch $@

# --- the paper's tables: workflow/Snakefile ------------------------------------------------------

# SCALE SEEDS TASKS METHODS CURVE SIZES OUT WANDB FIT PARTS JOBS THREADS: see workflow/selection.py,
# which reads them from the environment. Names on the command line are checked there.
REPRODUCE = $(BIN)/python workflow/reproduce.py
GIVEN = $(foreach v,$(.VARIABLES),$(if $(findstring command line,$(origin $v)),$v))

reproduce-all: .venv/installed ## every table and figure of the paper; SCALE=demo|small|paper SEEDS=2
	@$(REPRODUCE) run $(GIVEN)

reproduce-plan: .venv/installed ## what of it is left, and how long that takes
	@$(REPRODUCE) plan $(GIVEN)

demo: ## digits and sines, DWSNet against an MLP: SCALE=demo of two tasks and two models
	@$(MAKE) --no-print-directory reproduce-all SCALE=demo TASKS='mnist sine' METHODS='dwsnet mlp' SIZES=

# --- checks ---------------------------------------------------------------------------------------

# where functions check at run time that arrays have the shapes of their annotations
TYPED := $(addprefix tests/unit/,weightspace metanets tasks training/test_model.py training/test_reconstruction.py)

test: .venv/installed ## all tests but the slow ones and those that need a GPU
	$(BIN)/pytest -n 2 -m 'not slow and not gpu'
	$(BIN)/pytest -m 'not slow and not gpu and not untyped' --jaxtyping-packages=dws,tests.typechecker $(TYPED)

test-slow: .venv/installed ## the tests that take minutes or need the network
	$(BIN)/pytest -m slow

# where the environment has no network, PYTHON= names one that has what is needed
gpu-check: ## on a machine with a GPU: its tests, comparisons with the CPU, and rates
	@PYTHONPATH=src:. $(or $(wildcard $(BIN)/python),$(PYTHON)) -m scripts.gpu_check

check: format lint types contracts test ## format, lint, types, import contracts, tests

format: .venv/installed ## is the code formatted?
	$(BIN)/ruff format --check

lint: .venv/installed ## ruff
	$(BIN)/ruff check

types: .venv/installed ## mypy, strict
	$(BIN)/mypy

contracts: .venv/installed ## which module may import which
	$(BIN)/lint-imports --no-cache

docs: .venv/installed ## the documentation, in site/index.html; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html; its search needs a server: $(BIN)/python -m http.server -d site"

build: .venv/installed ## a wheel in dist/
	$(BIN)/pip wheel --no-deps --quiet --wheel-dir dist .

clean: ## remove the environment and caches; outputs/ stays
	rm -rf .venv .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis dist site
