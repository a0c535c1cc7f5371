# `make help` lists the verbs. Needed: Linux, Python 3.11 or later with venv and pip, gcc for packages without a wheel.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH ?= gateway
LITELLM := .bench/litellm
SOURCES := kernels routers orchestrator evals tests

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup run test test-all lint fix bench bench-litellm weights

help:  ## what each verb does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

setup: weights  ## everything `make run` needs: .venv, packages, the shipped fleet's weights

run: setup  ## serve the shipped fleet on port 8700
	@exec $(BIN)/switchyard serve

test: $(VENV)/.dev weights  ## the tests
	$(BIN)/python -m pytest

test-all: $(VENV)/.dev weights  ## the slow ones too
	$(BIN)/python -m pytest -m ''

lint: $(VENV)/.dev  ## ruff and mypy
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

fix: $(VENV)/.dev  ## let ruff mend what it can
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: $(VENV)/.dev weights  ## measure; BENCH=gateway and its options
	$(BIN)/python -m evals.bench $(BENCH)

bench-litellm: $(LITELLM)/.made  ## LiteLLM's proxy, in an environment of its own, for `make bench` to compare

# Does nothing when every file is in the model cache and has its hash.
weights: $(VENV)/.local
	@$(BIN)/switchyard pull --config experts.yaml

# Each stamp is written when its step is whole, so that an interrupted step is done again from its start.
$(VENV)/.made:
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(LITELLM)/.made: Makefile
	$(PYTHON) -m venv --clear $(LITELLM)
	$(LITELLM)/bin/python -m pip install --quiet --disable-pip-version-check 'litellm[proxy]==1.100.0'
	@touch $@

$(VENV)/.local: pyproject.toml $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[local,train,bench]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.local
