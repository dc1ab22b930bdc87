# One virtual environment, .venv, made on first use and brought up to date when pyproject.toml or constraints.txt
# change. Variables to set on the command line:
#   PYTHON=python3.12     the interpreter that makes .venv (3.11 or newer)
#   QUIET=                show pip's own words while it installs
#   SELECT='-k beam'      which tests to run (any pytest arguments)
# A machine with pip's usual settings is enough. PyTorch's smaller build without CUDA comes with
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo

PYTHON ?= python3
QUIET ?= --quiet
SELECT ?=

VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/ready
INSTALL := $(RUN) -m pip install $(QUIET) --constraint constraints.txt

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test quick lint format bench recipes-small clean

help:
	@echo 'make demo     learn to say numbers in German, look at the attention, translate without PyTorch (minutes)'
	@echo 'make test     run the tests'
	@echo 'make quick    run those of them that take no long training, no kills and half of the random models'
	@echo 'make lint     ruff and mypy'
	@echo 'make format   put imports and layout in order'
	@echo 'make bench    measure speed'
	@echo 'make recipes-small  every recipe end to end on a few pairs (minutes)'
	@echo 'make clean    remove .venv, caches and builds (runs/ stays)'

demo: $(READY)
	@$(RUN) examples/numbers/demo.py

test: $(READY)
	@$(RUN) -m pytest -q -n auto --dist loadfile $(SELECT)

quick: $(READY)
	@$(RUN) -m pytest -q -n auto --dist loadfile -m 'not slow' $(SELECT)

lint: $(READY)
	@echo '== ruff check'
	@$(RUN) -m ruff check .
	@echo '== ruff format --check'
	@$(RUN) -m ruff format --check .
	@echo '== mypy'
	@$(RUN) -m mypy

format: $(READY)
	@$(RUN) -m ruff check --select I --fix .
	@$(RUN) -m ruff format .

bench: $(READY)
	@$(RUN) benchmarks/run.py

recipes-small: $(READY)
	@$(RUN) recipes/small.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find src tests examples benchmarks recipes -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# PyTorch goes in first and alone, at the tested version: a package that merely requires torch then takes it as it
# is and pulls no other build.
$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || \
	  { echo "$(PYTHON): not found. Python 3.11 or newer is needed: make PYTHON=/path/to/python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1): 3.11 or newer is needed: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo '== $(VENV) (1 of 3): a virtual environment'
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) -m venv failed: on Debian and Ubuntu install python3-venv (see above)" >&2; exit 1; }
	@echo '== $(VENV) (2 of 3): PyTorch, the largest download, once'
	@$(INSTALL) torch
	@echo '== $(VENV) (3 of 3): Sequencing and the rest of the tested set'
	@$(INSTALL) --editable '.[train,demo,dev]'
	@touch $@
