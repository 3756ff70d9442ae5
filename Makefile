# microtune: `make demo` shows what it does, `make check` proves that it works. Both install into .venv and may be repeated.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
# For the CPU build of torch on Linux: make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# Test processes: one for each core, at most four, since each holds torch and transformers.
WORKERS = -n logical --maxprocesses 4 --dist worksteal
TORCH = $(shell grep '^torch==' constraints.txt)

.PHONY: help demo sprout check install-demo install-dev format lint types test test-all clean

help:
	@echo "make demo      install into .venv and run the tour (about 2 minutes)"
	@echo "make check     install into .venv, then format, lint, types, tests (about 8 minutes on 2 cores)"
	@echo "make test-all  the slow tests too"
	@echo "make sprout DATA=FOLDER  pretrain the embedded base anew (minutes on a GPU, a day on 2 cores; resumes)"

demo: install-demo
	$(BIN)/microtune demo

sprout: install-demo
	$(if $(DATA),,$(error name the folder of the corpora: make sprout DATA=FOLDER))$(BIN)/microtune pretrain recipes/sprout.yaml data.folder="$(DATA)" --out runs/sprout

check: install-dev
	@echo "== format"; $(BIN)/ruff format --check src tests benchmarks examples
	@echo "== lint"; $(BIN)/ruff check src tests benchmarks examples
	@echo "== types"; $(BIN)/mypy
	@echo "== tests"; $(BIN)/python -m pytest -q $(WORKERS)

test-all: install-dev
	$(BIN)/python -m pytest -q -m "not gpu and not network"

format:
	$(BIN)/ruff format src tests benchmarks examples && $(BIN)/ruff check --fix src tests benchmarks examples

install-demo: $(VENV)/.demo

install-dev: $(VENV)/.dev

$(VENV)/.python:
	@echo "== making $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "microtune needs Python 3.11 or newer; name one with PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.torch: $(VENV)/.python constraints.txt
	@echo "== installing $(TORCH)"
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	@echo "== installing microtune"
	$(PIP) -e '.[metrics]'
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	@echo "== installing microtune and its tools"
	$(PIP) -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
