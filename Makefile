# Everything sets itself up: the first call of a target creates $(VENV) and installs what that target
# needs; later calls install nothing until pyproject.toml or constraints.txt changes.

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
BIN := $(VENV)/bin

# One stamp per set of dependencies. `dev` holds `train`, and `train` holds the run-time ones, so a
# larger set counts as the smaller ones too.
RUN := $(VENV)/.installed-run
TRAIN := $(VENV)/.installed-train
DEV := $(VENV)/.installed-dev
BENCH := $(VENV)/.installed-bench
CLUSTER := $(VENV)/.installed-cluster

DEMO := runs/demo/answers.scored.jsonl

comma := ,

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test cluster train bench clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

demo: $(RUN) ## Score the shipped example answers and print the table.
	@mkdir -p $(dir $(DEMO))
	$(BIN)/scorer score scorer/examples/answers.jsonl -o $(DEMO)

test: $(DEV) ## Check format, lint and types, and run the tests.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

cluster: $(CLUSTER) ## Run the tests on a local Ray and a local Spark; needs Java.
	$(BIN)/python -m pytest -m "slow or not slow" tests/inference/test_ray.py tests/inference/test_spark.py

train: $(TRAIN) ## Train on the bundled native set alone, into runs/native.
	$(BIN)/scorer train recipes/native.yaml -o runs/native

bench: $(BENCH) ## Measure speed and memory beside what others would use; some 15 minutes.
	$(BIN)/python benchmarks/speed.py

clean: ## Remove the virtual environment, caches and build output; keep runs/.
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call install,EXTRA,STAMPS). One pip call with the constraints: without them, installing anything
# that asks for torch may first fetch a CUDA build. `venv` runs every time, since it also mends a
# virtual environment that an interrupted call left half made.
define install
@echo "Installing harmlessness-scorer$(1) into $(VENV) …"
@$(PYTHON) -m venv $(VENV)
@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt $(PIP_ARGS) --editable '.$(1)'
@touch $(2)
endef

$(RUN): pyproject.toml constraints.txt
	$(call install,,$(RUN))

$(TRAIN): pyproject.toml constraints.txt
	$(call install,[train],$(RUN) $(TRAIN))

$(DEV): pyproject.toml constraints.txt
	$(call install,[dev],$(RUN) $(TRAIN) $(DEV))

$(BENCH): pyproject.toml constraints.txt
	$(call install,[bench],$(RUN) $(TRAIN) $(BENCH))

$(CLUSTER): pyproject.toml constraints.txt
	$(call install,[dev$(comma)ray$(comma)spark],$(RUN) $(TRAIN) $(DEV) $(CLUSTER))
