# dws: `make` lists the targets. Everything runs in .venv, which the first target makes.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help reproduce-all reproduce-plan results demo test test-slow check format lint types contracts build clean
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

# --- the paper's tables: zoos, alignment, all (task, model, seed) runs, one page ------------------
# A file that is there is kept, whatever its age: its folder says what it was made with. Any part can
# run elsewhere: make -j 8 RUN='srun -c 2' reproduce-all, or FIT='engine=ray engine.address=auto'.

SCALE ?= small
SCALES := $(basename $(notdir $(wildcard configs/scale/*.yaml)))
setting = $(shell sed -n 's/[][,]//g; s/^$1: //p' configs/scale/$(SCALE).yaml)
OUT ?= $(call setting,outputs)
SEEDS ?= $(call setting,num_seeds)
WANDB ?= disabled
RUN ?=
# side by side, each with its share of the cores; make -j takes precedence
JOBS ?= 2
at_once = $(or $(patsubst -j%,%,$(filter -j%,$(MAKEFLAGS))),$(JOBS))
THREADS = $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) / $(at_once) + ($$(getconf _NPROCESSORS_ONLN) < $(at_once)))))
FIT ?=
# those of the paper
METHODS ?= mlp mlp_permutation_augmentation mlp_alignment inr2vec transformer dwsnet
TASKS := $(basename $(notdir $(wildcard configs/task/*.yaml)))
MODELS := $(basename $(notdir $(wildcard configs/model/*.yaml)))
ALL := $(foreach t,$(TASKS),$(MODELS:%=$t/%))
# <task>/<model>: the tasks of the paper with these methods; functions are probed for images only
EXPERIMENTS ?= $(sort $(filter-out sine/probe ssl/probe,$(foreach t,mnist fashion_mnist sine ssl,$(METHODS:%=$t/%))))
COMMON := scale=$(SCALE) paths.outputs=$(OUT)

CURVE ?= $(filter sine/%,$(EXPERIMENTS)) # trained on each of SIZES networks too
SIZES ?= $(call setting,curve)
SETTINGS := PYTHON BIN CONSTRAINTS SCALE OUT SEEDS WANDB RUN JOBS FIT METHODS EXPERIMENTS CURVE SIZES
# name, pattern, what it is: stops where a setting does not match
matches = $(if $(shell printf '%s\n' '$(subst ','\'',$($1))' | grep -Eqx '$2' && echo yes),,$(error \
	expected $1 to be $3, got '$($1)'))
# name, what there is, what it is: stops where a setting names something else
among = $(if $(filter-out $2,$($1)),$(error expected $1 of $3$2, got $(filter-out $2,$($1))))
ifneq ($(filter reproduce-% results demo %.json %.html,$(MAKECMDGOALS)),)
$(foreach v,$(.VARIABLES),$(if $(findstring command line,$(origin $v)),$(if $(filter $v,$(SETTINGS) MAKE SHELL),,\
	$(error expected settings of $(SETTINGS), got $v))))
$(call among,SCALE,$(SCALES),)
$(call matches,OUT,[A-Za-z0-9_./@+-]+,a path of letters and digits and any of _./@+- only)
$(call matches,SEEDS,[1-9][0-9]*,a number from 1 on)
$(call matches,JOBS,[1-9][0-9]*,a number from 1 on)
$(call matches,SIZES,([1-9][0-9]* *)*,numbers from 1 on)
$(call among,METHODS,$(sort $(MODELS)),)
$(if $(filter-out $(ALL),$(EXPERIMENTS)),$(error expected EXPERIMENTS of <task>/<model> with a task of \
	$(sort $(TASKS)) and a model of $(sort $(MODELS)), got $(filter-out $(ALL),$(EXPERIMENTS))))
$(call among,CURVE,$(EXPERIMENTS),EXPERIMENTS: )
$(if $(EXPERIMENTS),,$(error expected EXPERIMENTS or METHODS, got none))
endif

task_of = $(patsubst %/,%,$(dir $1))
tasks := $(sort $(foreach e,$(EXPERIMENTS),$(call task_of,$e)))
zoo_of = $(zoo_of_$1)
$(foreach t,$(tasks),$(eval zoo_of_$t := $(shell sed -n 's/.*zoo: *\([A-Za-z0-9_-]*\).*/\1/p' configs/task/$t.yaml)))
seeds := $(shell seq 0 $$(($(SEEDS) - 1)))
result = $(OUT)/runs/$1/$2/result.json
RESULTS := $(foreach s,$(seeds),$(foreach e,$(EXPERIMENTS),$(call result,$e,seed$s)) \
	$(foreach n,$(SIZES),$(foreach e,$(CURVE),$(call result,$e,n$n-seed$s))))
.PRECIOUS: $(RESULTS) # whole once they are there, whatever failed after

reproduce-all: reproduce-plan ## every table and figure of the paper; SCALE=demo|small|paper SEEDS=2
	@$(if $(RUN),,OMP_NUM_THREADS=$${OMP_NUM_THREADS:-$(THREADS)}) $(MAKE) --no-print-directory \
		$(if $(filter -j% --jobserver%,$(MAKEFLAGS)),,-j$(JOBS)) $(OUT)/report/index.html
	@echo "every table and picture: $(OUT)/report/index.html"

reproduce-plan: .venv/installed ## what of it is done, what is left, and how long that takes
	@$(MAKE) --no-print-directory --dry-run results | \
		OMP_NUM_THREADS=$${OMP_NUM_THREADS:-$(THREADS)} $(BIN)/python -m dws.cli.plan --jobs $(at_once) $(COMMON)

results: $(RESULTS) ## all that the page is made of, without the page

define zoo_rule
$(OUT)/zoos/$1/manifest.json: | .venv/installed
	$(RUN) $(BIN)/dws-fit-inrs $(COMMON) zoo=$1 $(FIT)

$(OUT)/zoos/$1.aligned/manifest.json: | $(OUT)/zoos/$1/manifest.json
	$(RUN) $(BIN)/dws-zoo align $(OUT)/zoos/$1
endef
zoos := $(sort $(foreach t,$(tasks),$(call zoo_of,$t)))
$(foreach z,$(zoos),$(eval $(call zoo_rule,$z)))

# experiment, name of the run's folder, seed, other settings
define run_rule
$(call result,$1,$2): | $(OUT)/zoos/$(call zoo_of,$(call task_of,$1))$(if $(findstring alignment,$1),.aligned)/manifest.json
	$(RUN) $(BIN)/dws-train $(COMMON) task=$(call task_of,$1) model=$(notdir $1) seed=$3 run_dir=$(OUT)/runs/$1/$2 wandb=$(WANDB) $4
	$(RUN) $(BIN)/dws-evaluate run=$(OUT)/runs/$1/$2 wandb=$(WANDB)
endef
$(foreach s,$(seeds),$(foreach e,$(EXPERIMENTS),$(eval $(call run_rule,$e,seed$s,$s))))
$(foreach s,$(seeds),$(foreach e,$(CURVE),$(foreach n,$(SIZES),\
	$(eval $(call run_rule,$e,n$n-seed$s,$s,task.num_train=$n task.repeat_train=true)))))

# The page is written even if a damaged run has to be left out. It is then kept, but dated before its
# prerequisites, so that the next make fails too.
.PRECIOUS: $(OUT)/report/index.html
$(OUT)/report/index.html: $(RESULTS)
	@$(BIN)/dws-report $(COMMON) || { touch -c -t 197001020000 $@; exit 1; }

demo: ## digits and sines, DWSNet against an MLP: SCALE=demo of two tasks and two models
	@$(MAKE) --no-print-directory reproduce-all SCALE=demo SIZES= \
		EXPERIMENTS='$(foreach t,mnist sine,$t/dwsnet $t/mlp)'

# --- checks ---------------------------------------------------------------------------------------

# where functions check at run time that arrays have the shapes of their annotations
TYPED := $(addprefix tests/unit/,weightspace metanets tasks training/test_model.py training/test_reconstruction.py)

test: .venv/installed ## all tests but the slow ones and those that need a GPU
	$(BIN)/pytest -n 2 -m 'not slow and not gpu'
	$(BIN)/pytest -m 'not slow and not gpu and not untyped' --jaxtyping-packages=dws,tests.typechecker $(TYPED)

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
