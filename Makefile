# make lab: start the app · make test: everything a change must pass · make check: lint and types · make bench: measure
PYTHON ?= python3
BIN := .venv/bin

.PHONY: lab test check bench clean
.DEFAULT_GOAL := lab

$(BIN)/.run: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -r requirements.txt
	touch $@

$(BIN)/.dev: requirements-dev.txt $(BIN)/.run
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	touch $@

lab: $(BIN)/.run
	$(BIN)/streamlit run lab/Home.py

check: $(BIN)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest -n auto --dist loadfile

bench: $(BIN)/.dev
	$(BIN)/python -m benchmarks.first_light

clean:
	rm -rf .venv cache .pytest_cache .mypy_cache .ruff_cache
