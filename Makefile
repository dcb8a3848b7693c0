# Everything that can be done here, by name. Needs Python 3.11 or newer; each target sets up what it uses.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
CORES  ?= $(shell $(PYTHON) -c 'import os; print(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())')

# Several test processes share the cores, so each takes one thread.
PYTEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help setup demo check format test test-fast test-isolation test-slow baseline clean clean-all

help: ## show this list
	@awk -F':.*## ' '/^[a-z%-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## create .venv, or refresh it when constraints.txt or a pyproject.toml changed
	@$(PYTHON) scripts/environment.py --venv $(VENV)

demo: example-text_cls ## train and evaluate a text classifier on real questions (minutes)

example-%: setup ## run examples/<name>
	@test -f examples/$*/main.py || { echo "error: no examples/$*/main.py; there are: $(notdir $(patsubst %/main.py,%,$(wildcard examples/*/main.py)))" >&2; exit 1; }
	@PYTHONPATH=. $(BIN)/python -m examples.$*.main

check: setup ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## let ruff format and repair what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: test-fast test-isolation ## all tests but the slow ones

test-fast: setup ## the tests of all packages and across them, in .venv
	$(PYTEST) -n $(CORES)

test-isolation: setup ## each package's tests on its own wheel with only its own dependencies
	$(PYTEST) -m isolation tests/isolation

test-slow: setup ## minutes long: the examples end to end, against their baselines
	OMP_NUM_THREADS=$(CORES) $(BIN)/python -m pytest -m slow

baseline: setup ## what a plain PyTorch script reaches where `make demo` trains
	@$(BIN)/python -m benchmarks.text_cls_baseline

clean: ## remove what runs and builds left (not .venv, not the cache of downloads)
	rm -rf build dist examples/*/data examples/*/processed examples/*/logs .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

clean-all: clean ## remove .venv, too
	rm -rf .venv .venv.lock
