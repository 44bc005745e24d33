# `make` lists the targets.
#
# torch: constraints.txt names the release; which build of it (CPU or CUDA) is the package index's choice. To choose,
# give the index of that build, as PyTorch's "get started" page states it:  make install TORCH_INDEX=<address>

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
WORKERS ?= 2
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.userrep-installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow bench results lint type clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo
	@echo "  install takes PYTHON=python3.12, VENV=folder and TORCH_INDEX=address (of PyTorch's CPU or CUDA builds)"

install: $(READY) ## create .venv and install userrep with the tested versions

demo: $(READY) ## real data, a pre-trained encoder, four ways to transfer it, one table
	PATH="$(BIN):$$PATH" bash examples/demo.sh

test: lint ## lint, types and the quick tests
	$(BIN)/python -m compileall -q userrep # once, and not in each process that a test starts
	$(BIN)/mypy & types=$$!; $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal; tests=$$?; wait $$types && exit $$tests

test-slow: $(READY) ## every test, the slow ones and those that download included
	$(BIN)/python -m pytest -n $(WORKERS) -m "" --timeout 1800

bench: $(READY) ## our way against the plain way, in pairs, with ratios and peaks of memory (some minutes)
	$(BIN)/python -m bench

results: $(patsubst scripts/results_%.py,results-%,$(wildcard scripts/results_*.py)) ## the tables of docs/results.md (hours; goes on where it stopped)

results-%: scripts/results_%.py $(READY)
	$(BIN)/python $<

lint: $(READY) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(READY) ## check types
	$(BIN)/mypy

clean: ## remove what builds and tests left; keeps data, runs and .venv
	rm -rf dist build .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "userrep needs Python 3.11 or newer; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install -c constraints.txt torch --index-url $(TORCH_INDEX))
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]'
	@$(BIN)/python -c 'import torch; built = torch.version.cuda; \
	  print(f"torch {torch.__version__}: a CUDA build, no GPU to be seen; TORCH_INDEX gets the smaller CPU build" \
	        if built and not torch.cuda.is_available() else f"torch {torch.__version__}")'
	@touch $@
