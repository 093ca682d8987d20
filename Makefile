# Everything on a fresh machine with Python 3.11+ and make:  make demo, make test.
# VENV may point at an environment elsewhere.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

export PIP_CACHE_DIR ?= $(CURDIR)/.cache/pip
export HF_HUB_OFFLINE ?= 1
# Two trainings side by side would wait for each other's threads in busy loops.
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test check lint bench setup clean

demo: $(VENV)/.train
	$(BIN)/stepdown demo

# What fixtures train is kept in .cache/tests for a day; STEPDOWN_TEST_CACHE=off trains it anew.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

# What neither trains nor builds, and starts no whole gateway: a minute and a half, for while one works.
check: $(VENV)/.dev
	STEPDOWN_TEST_EXAMPLES=20 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

lint: $(VENV)/.dev
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

setup: $(VENV)/.dev

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stepdown needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)

# torch first and alone: a looser pin would bring gigabytes of CUDA with it.
$(VENV)/.torch: constraints.txt | $(VENV)/bin/python
	$(PIP) install --constraint constraints.txt torch
	touch $@

$(VENV)/.train: pyproject.toml $(VENV)/.torch
	$(PIP) install --constraint constraints.txt --editable '.[train,demo]'
	touch $@

$(VENV)/.dev: $(VENV)/.train
	$(PIP) install --constraint constraints.txt --editable '.[train,dev]'
	touch $@

clean:
	rm -rf $(VENV) .cache build demo
