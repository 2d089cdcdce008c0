# make lab: start the app · make cpu: the same environment with PyTorch for the CPU only · make check: lint and types · make bench: measure
# make test: the default suite, everything where CI is set · make test-all: real browsers, whole processes and kills too
# make tools: install what checks and tests need · make suite: the tests alone
# make figures: write the figures of README, cards and docs again from their files, and photograph the app
# make demo: train, measure and export the bundled model again, into DEMO · make pictures: photograph the app
PYTHON ?= python3
BIN := .venv/bin
# one worker more than cores, because some tests wait; eight at most
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(8, 1 + len(os.sched_getaffinity(0))))")

EVERYTHING := -m ""
CHOICE := $(if $(CI),$(EVERYTHING))

# hundreds of processes start: none shall compile the lab again
unexport PYTHONDONTWRITEBYTECODE

.PHONY: lab cpu tools test suite test-all check bench demo figures pictures clean
.DEFAULT_GOAL := lab

$(BIN)/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
		{ echo "Python 3.11 or newer is needed. Run: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --progress-bar on --upgrade pip

$(BIN)/.run: requirements.txt | $(BIN)/python
	@echo "Installing packages; PyTorch is large, so this takes a few minutes."
	$(BIN)/python -m pip install --progress-bar on --no-compile -r requirements.txt
	$(BIN)/python -m compileall -q -j 0 .venv/lib || true  # pip itself would compile with one core
	touch $@

# PyTorch from its own index first: without it, pip takes the build with gigabytes of CUDA
cpu: | $(BIN)/python
	$(BIN)/python -m pip install --progress-bar on torch torchvision --index-url https://download.pytorch.org/whl/cpu
	$(MAKE) $(BIN)/.run

$(BIN)/.dev: requirements-dev.txt $(BIN)/.run
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	touch $@

lab: $(BIN)/.run
	$(BIN)/streamlit run lab/Home.py

check: $(BIN)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

tools: $(BIN)/.dev

test: check suite

suite: $(BIN)/.dev
	$(BIN)/python -m compileall -q core lab pages benchmarks
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(CHOICE)

test-all: CHOICE := $(EVERYTHING)
test-all: test

DEMO ?= models/mnist-demo-again
SAMPLES ?= 5000
SET ?=
demo: $(BIN)/.run
	ids="$$($(BIN)/python -m core train all --config models/mnist-demo/lab/config.yaml --name 'MNIST demo' $(SET))" && \
	unet="$${ids##*[[:space:]]}" && \
	$(BIN)/python -m core evaluate "$$unet" --samples $(SAMPLES) && \
	$(BIN)/python -m core export "$$unet" $(DEMO) --license mit --with-judge

bench: $(BIN)/.dev
	$(BIN)/python -m benchmarks.first_light

figures: $(BIN)/.dev
	$(BIN)/python -m benchmarks.figures
	$(MAKE) pictures

# of the README, from the app; screenshots of every page go to SCREENS
SCREENS ?= $(or $(TMPDIR),/tmp)/lab-screens
pictures: $(BIN)/.dev
	$(BIN)/python -m benchmarks.pictures
	$(BIN)/python -m benchmarks.screens $(SCREENS)

clean:
	rm -rf .venv cache .pytest_cache .mypy_cache .ruff_cache
