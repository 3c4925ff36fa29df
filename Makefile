# Every target makes .venv by itself; setup is redone only when pyproject.toml or the C source changes.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.mals-setup

.PHONY: setup test lint demo clean-demo

setup: $(STAMP)

$(STAMP): pyproject.toml $(wildcard mals/jpeg/*)
	$(PYTHON) -c 'import sys; sys.exit("mals needs Python 3.11 or newer; give one with make PYTHON=...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest

demo: setup
	$(BIN)/mals plan demo --captions tests/data/captions.txt --count 128
	$(BIN)/mals run demo
	$(BIN)/mals status demo

clean-demo:
	rm -rf demo
