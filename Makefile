# On a fresh machine two commands do everything:
#
#   make demo    install into .venv, describe a sample clip, answer two questions about it
#   make test    install what the tests need and run the fast ones
#
# Another Python than the one found first: make demo PYTHON=/path/to/python3.12

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 $(BIN)/python -m pip install --quiet
DEMO := stllm-demo
WORKERS ?= 2
# One thread per test process: more only get in each other's way.
PYTEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/python -m pytest

.PHONY: help demo docs recording test test-all lint types clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile
	@echo
	@echo "Also: make test-all (slow tests), lint, types, docs (pages written from the program), recording (docs/chat.svg, with tmux), clean (removes $(VENV) too)"

demo: $(VENV)/.installed
	$(BIN)/stllm demo $(DEMO)
	$(BIN)/stllm describe $(DEMO)/red_circle.mp4
	$(BIN)/stllm describe $(DEMO)/red_circle.mp4 --prompt "What does the red object do first?"
	$(BIN)/stllm describe $(DEMO)/red_circle.mp4 --prompt "What does the red object do at the end?"

test: $(VENV)/.installed-dev
	$(PYTEST) -n $(WORKERS) -m "not slow"

test-all: $(VENV)/.installed-dev
	$(PYTEST) -n $(WORKERS) -m slow

docs: $(VENV)/.installed
	NO_COLOR=1 $(BIN)/python docs/generate.py

recording: $(VENV)/.installed
	$(BIN)/python docs/record.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are older than their sources exactly when something must be installed anew. torch goes first
# and alone: a range of versions, as other packages ask for, would bring gigabytes of CUDA along.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV) (about 1.5 GB; a minute or two) …"
	$(PIP) "$$(grep -i '^torch==' constraints.txt)"
	$(PIP) -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	DS_BUILD_OPS=0 $(PIP) -c constraints.txt -e '.[dev]'
	@touch $@

$(BIN)/python:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	    if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	        echo "$$python -m venv $(VENV)"; \
	        "$$python" -m venv $(VENV) || { rm -rf $(VENV); echo "make: $$python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	        exit 0; \
	    fi; \
	done; \
	echo "make: no Python 3.11, 3.12 or 3.13 found; install one, or name it: make demo PYTHON=/path/to/python3.12" >&2; \
	exit 1
