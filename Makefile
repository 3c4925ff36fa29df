# Every target makes .venv by itself; setup is redone only when pyproject.toml changes.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.mals-setup

.PHONY: setup test lint docs demo clean-demo world-models

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("mals needs Python 3.11 or newer; give one with make PYTHON=...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

lint: docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -m tests.lint.names
	$(BIN)/mypy

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

demo: setup
	HF_HUB_OFFLINE=1 $(BIN)/mals demo demo-run

clean-demo:
	rm -rf demo-run

# Trains the embedded models again: hours on two cores. Not part of setup or tests.
world-models: setup
	$(BIN)/python -m mals.world.training --work world-work
