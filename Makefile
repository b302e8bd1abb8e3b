# make demo     a first sweep from nothing: installs into .venv, then runs sweeps/quickstart.yaml
# make demo-real DATA=/path/to/MAMS-ACSA [MODEL=...]   the named designs on real reviews with a real model of 135M
# make test     every test that a clean machine can pass, the fast ones first
# make check    ruff and mypy
# make test-all also the long ones, and those on public data sets in $SDE_SHARED
# make clean    removes what this file made; runs/ and its results stay

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SWEEP  ?= sweeps/quickstart.yaml
MODEL  ?= HuggingFaceTB/SmolLM2-135M-Instruct
# Processes of the tests, each of one thread and about 1 GiB; 0 is none beside pytest's own. What starts Ray
# does not count: it runs one by one.
TESTERS ?= 2
RAY_LOG = $(VENV)/ray-tests.log
WITHOUT_RAY = not cluster and not faults and not realdata and not long and not walk
# The pinned set needs Python 3.11; an older one gets the newest versions that still support it.
PINS    = $(shell $(PYTHON) -c 'import sys; print("-c constraints.txt" if sys.version_info >= (3, 11) else "")' 2>/dev/null)

.PHONY: demo demo-real test test-all check clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	$(BIN)/sde-ray run $(SWEEP)

demo-real: $(VENV)/.installed
	@test -d "$(DATA)" || { echo 'Say where MAMS-ACSA is, a folder with train.xml and val.xml: make demo-real DATA=/path/to/MAMS-ACSA' >&2; exit 2; }
	$(BIN)/python -m pip install --quiet $(PINS) -e '.[gguf]'
	$(BIN)/sde-ray run sweeps/mams_smollm2.yaml --set task=mams@$(abspath $(DATA)) --set model=$(MODEL)

# Tests of one file stay in one process (loadfile): they share models and sweeps. What starts Ray runs one by one beside
# the others, since it mostly waits; what it says comes last.
test: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -q -m "(cluster or faults or walk) and not realdata and not long" > $(RAY_LOG) 2>&1 & with_ray=$$!; \
	$(BIN)/python -m pytest -q -n $(TESTERS) --dist loadfile -m "not slow and $(WITHOUT_RAY)" && \
	$(BIN)/python -m pytest -q -n $(TESTERS) --dist loadfile -m "slow and $(WITHOUT_RAY)"; code=$$?; \
	wait $$with_ray || code=$$?; cat $(RAY_LOG); exit $$code

test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q --hypothesis-profile=long

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
	  { echo 'sde_ray needs Python 3.10 or newer as "$(PYTHON)". Install it, or run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)' >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo 'Cannot create $(VENV): the venv module is missing or the disk is full. On Debian: apt install python3-venv' >&2; exit 2; }

# Installed once; again only when what is to be installed has changed.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(PINS) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(PINS) -e '.[dev]'
	@touch $@ $(VENV)/.installed
