# Every target makes .venv and installs what it needs; a second call installs nothing.
# Needs make, python3 >= 3.11 with venv, and a package index or a folder of wheels.

PYTHON ?= python3
ARGS ?=
JOBS ?= 2
RACE ?=
TORCH ?= $(shell grep '^torch==' constraints.txt)
RESULT ?= benchmarks/results/$(shell date -u +%Y%m%dT%H%M%SZ).json

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --quiet --no-input --disable-pip-version-check

# Albumentations would ask the package index for news at every import.
export NO_ALBUMENTATIONS_UPDATE := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-all lint examples bench bench-smoke clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo 'ARGS="-k order" goes to pytest; PYTHON=python3.12 chooses another Python.'
	@echo 'RACE="--tasks rrc" goes to the race of loaders; JOBS=8 tests in 8 processes.'

install: $(STAMP) ## Make .venv with the package and the developers' tools

demo: $(STAMP) ## Run the whole path on a rendered scene; the report is demo/report.html
	$(BIN)/fiberaug demo demo/

test: $(STAMP) ## Run the laws and units: about half an hour on 2 cores
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow" $(ARGS)

test-all: $(STAMP) ## Run every test: about an hour on 2 cores
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

lint: $(STAMP) ## Check style, format, types and import floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

examples: $(STAMP) ## Run each file of examples/
	$(BIN)/python -m pytest tests/test_examples.py $(ARGS)

bench: $(STAMP) ## Measure and race; figures go to benchmarks/results/ and the README
	@mkdir -p $(dir $(RESULT))
	$(BIN)/python -m pytest benchmarks --benchmark-only --timeout=0 --benchmark-json=$(RESULT) $(ARGS)
	$(BIN)/python benchmarks/race.py $(RACE)
	$(BIN)/python benchmarks/figures.py

bench-smoke: $(STAMP) ## Run each benchmark once, unmeasured, so that none rots
	$(BIN)/python -m pytest benchmarks --benchmark-disable $(ARGS)
	$(BIN)/python benchmarks/race.py --smoke

clean: ## Remove what was built, cached and rendered; .venv and results stay
	rm -rf build dist demo htmlcov *.egg-info .coverage .coverage.* .benchmarks
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find fiberaug tests benchmarks examples -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# torch first and alone: it is nine tenths of the download, and pip is silent meanwhile.
$(STAMP): pyproject.toml constraints.txt $(shell find fiberaug -name "*.[ch]")
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'fiberaug needs Python 3.11 or newer, and $(PYTHON) is not.' >&2; \
	  echo 'Name another one: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo '$(PYTHON) cannot make a virtual environment.' >&2; \
	  echo 'On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@echo 'fiberaug: installing $(TORCH) into $(VENV) (once; 200 MB to 3 GB, minutes)'
	@$(PIP) install -c constraints.txt '$(TORCH)' setuptools wheel
	@echo 'fiberaug: installing fiberaug[dev] with the versions of constraints.txt'
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@
