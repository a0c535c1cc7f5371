# `make help` lists the verbs. Needed: Linux, Python 3.11 or later with venv and pip, gcc for packages without a wheel.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH ?= gateway
WORKERS ?= 2
LITELLM := .bench/litellm
LLMROUTER := .bench/llmrouter
SOURCES := kernels routers orchestrator evals tests

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup run test test-all lint fix bench bench-litellm bench-llmrouter weights

help:  ## what each verb does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

setup: weights  ## everything `make run` needs: .venv, packages, the shipped fleet's weights

run: setup  ## serve the shipped fleet on port 8700
	@exec $(BIN)/switchyard serve

test: $(VENV)/.dev weights  ## the tests; WORKERS=2 processes, each with whole files
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-all: $(VENV)/.dev weights  ## the slow ones too, and property tests on new examples
	$(BIN)/python -m pytest --hypothesis-profile=default -m ''

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

bench-llmrouter: $(LLMROUTER)/.made  ## LLMRouter, the same way, for `make bench BENCH=llmrouter`

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

# Without most of what it depends on, which the routers that are compared don't import.
$(LLMROUTER)/.made: Makefile
	$(PYTHON) -m venv --clear $(LLMROUTER)
	$(LLMROUTER)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 \
	  scikit-learn==1.9.1 pandas==3.0.6 scipy==1.17.1 pyyaml==6.0.3 pydantic==2.14.3 pillow==13.0.0
	$(LLMROUTER)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps llmrouter-lib==0.4.0
	@touch $@

$(VENV)/.local: pyproject.toml $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[local,train,bench]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.local
