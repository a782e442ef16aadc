# Two commands: `make demo` sets everything up and runs the main job, `make test` runs the tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint docs clean distclean

help:
	@echo "make setup      build .venv (about 10 minutes on 2 cores the first time, seconds after)"
	@echo "make demo       set up, then train, distil, evaluate and report on simulated data"
	@echo "make test       set up, then run the tests"
	@echo "make lint       set up, then ruff and mypy"
	@echo "make docs       set up, then check the links and build the documentation into site/"
	@echo "make clean      remove caches; make distclean removes .venv too"
	@echo "Another Python: PYTHON=python3.11 make setup"

setup:
	@test -n "$(PYTHON)" || { echo "setup: no Python found -> apt-get install python3.11 python3.11-venv, or PYTHON=/path/to/python3.11 make setup" >&2; exit 1; }
	@$(PYTHON) tools/setup_env.py

demo: setup
	@$(BIN)/kd3d demo

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup
	$(BIN)/python tools/check_links.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

clean:
	rm -rf .pytest_cache .ruff_cache .mypy_cache .hypothesis htmlcov .coverage build dist *.egg-info
	find . -path ./.venv -prune -o -type d -name __pycache__ -print0 | xargs -0 rm -rf

distclean: clean
	rm -rf .venv
