# dws: `make` lists the targets. All targets use .venv, which is created when it is needed.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help reproduce-all reproduce-plan demo test test-slow gpu-check check format lint types contracts docs build clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- environment ---------------------------------------------------------------------------------

# exact versions; make CONSTRAINTS= installs the newest versions that pyproject.toml allows
CONSTRAINTS ?= constraints.txt
# TORCH=cpu installs builds of PyTorch without CUDA; by default, the builds of PyPI, with CUDA, are used
TORCH ?=
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

# .venv/workflow marks an environment with the extra workflow, .venv/installed one with the extra dev
define install
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"make: Python 3.11 or newer is needed, found {v[0]}.{v[1]}; set PYTHON=python3.11 or newer")'
	@echo 'make: installing into .venv; this takes some minutes'
	$(PYTHON) -m venv .venv
	$(if $(TORCH),$(PIP) --no-deps --index-url https://download.pytorch.org/whl/$(TORCH) $(or $(if $(CONSTRAINTS),$(shell grep -Es '^torch(vision)?==' $(CONSTRAINTS))),torch torchvision))
	$(PIP) $(CONSTRAINTS:%=--constraint %) --editable '.[$(1)]'
endef

.venv/installed: pyproject.toml $(CONSTRAINTS)
	$(call install,dev)
	@touch .venv/workflow $@

.venv/workflow: pyproject.toml $(CONSTRAINTS)
	$(call install,workflow)
	@touch $@

# --- the paper's tables: workflow/Snakefile ------------------------------------------------------

# SCALE SEEDS TASKS METHODS CURVE SIZES OUT WANDB FIT PARTS JOBS THREADS: see workflow/selection.py,
# which reads their values from the environment and checks the names of the command line.
REPRODUCE = $(BIN)/python workflow/reproduce.py
GIVEN = $(foreach v,$(.VARIABLES),$(if $(findstring command line,$(origin $v)),$v))

reproduce-all: .venv/workflow ## reproduce all tables and figures of the paper; SCALE=demo|small|paper|authors SEEDS=2
	@$(REPRODUCE) run $(GIVEN)

reproduce-plan: .venv/workflow ## list the remaining jobs of reproduce-all, with time estimates
	@$(REPRODUCE) plan $(GIVEN)

demo: .venv/workflow ## classify digits and regress sines with three metanets, at SCALE=demo
	@$(REPRODUCE) demo $(GIVEN)

# --- checks ---------------------------------------------------------------------------------------

# tests that run a second time with run-time checks of annotated shapes and types
TYPED := $(addprefix tests/unit/,weightspace metanets tasks training/test_model.py training/test_reconstruction.py)

test: .venv/installed ## run all tests except slow ones and those that need a GPU
	$(BIN)/pytest -n 2 -m 'not slow and not gpu'
	$(BIN)/pytest -n 2 -m 'not slow and not gpu and not untyped' --jaxtyping-packages=dws,tests.typechecker $(TYPED)

test-slow: .venv/installed ## run the tests that take minutes or need the network
	$(BIN)/pytest -m slow

# without .venv, such as on a machine without network, PYTHON= names an environment with the packages
gpu-check: ## on a machine with a GPU: run GPU tests, compare with the CPU, measure rates
	@PYTHONPATH=src:. $(or $(wildcard $(BIN)/python),$(PYTHON)) -m scripts.gpu_check

check: format lint types contracts test ## run all checks: format, lint, types, contracts, test

format: .venv/installed ## check the format of the code
	$(BIN)/ruff format --check

lint: .venv/installed ## check the code with ruff
	$(BIN)/ruff check

types: .venv/installed ## check types with mypy
	$(BIN)/mypy

contracts: .venv/installed ## check which module imports which
	$(BIN)/lint-imports --no-cache

docs: .venv/installed ## build the documentation in site/; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "built site/index.html; the search needs a server: $(BIN)/python -m http.server -d site"

build: .venv/installed ## build a wheel and a source distribution in dist/
	$(BIN)/python -m hatchling build -d dist

clean: ## remove the environment and caches, but not outputs/
	rm -rf .venv .snakemake .pytest_cache .mypy_cache .ruff_cache .hypothesis dist site
