# Everything a newcomer and a build machine run. All results lie in .venv/ and var/.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup packages up demo test check simulate drill drills bench soak clean
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP := .venv/bin/pip --disable-pip-version-check -qq
JOBS ?= $(shell nproc)
KILLS ?= 200
MINUTES ?= 1
ROUNDS ?= 5

help: ## Show what can be made.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: .venv/.installed ## Install everything, make test keys; quick when done already.
	@.venv/bin/isoswitch setup

up: setup ## Start the whole network (STORE=postgres WORKERS=2 if wanted).
	@.venv/bin/isoswitch up $(if $(filter postgres,$(STORE)),--postgres) \
	    $(if $(WORKERS),--workers $(WORKERS))

demo: setup ## Start the network, tour fifteen things that can happen, audit it.
	@.venv/bin/isoswitch demo

test: setup ## Run all tests, and search their output for card numbers.
	.venv/bin/python -m pytest -n $(JOBS) $(if $(MAKE_TERMOUT),--color=yes) tests \
	    | tee var/test-output.txt
	.venv/bin/python -m tests.scan var/test-output.txt

check: .venv/.installed ## Formatting, lint, types, import contracts, doc examples.
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy --strict -p isoswitch
	.venv/bin/lint-imports
	.venv/bin/python -m pytest --doctest-modules isoswitch

simulate: .venv/.installed ## Tell 100 stories of a network under faults (a minute).
	.venv/bin/isoswitch simulate --seeds 100 --first 1000 --processes $(JOBS)

drill: setup ## Kill the parts of a busy network KILLS times, and audit it.
	ISOSWITCH_KILLS=$(KILLS) .venv/bin/python -m pytest tests/live/test_kill_drill.py

drills: setup ## Kill, freeze and cut off nodes and databases ROUNDS times, and audit.
	ISOSWITCH_ROUNDS=$(ROUNDS) .venv/bin/python -m pytest -s tests/live/test_node_drill.py \
	    tests/live/test_partition_drill.py tests/live/test_backup_drill.py

bench: setup ## Measure everything in one run; QUICK=1 in about a minute.
	.venv/bin/python -W ignore -m bench $(if $(QUICK),--quick)

soak: setup ## Half load for MINUTES (1), in which nothing may grow.
	.venv/bin/python -W ignore -m bench soak --minutes $(MINUTES)

clean: ## Remove the virtual environment and all state of the test network.
	rm -rf .venv var

packages:
	@missing=; \
	test -e /usr/lib/softhsm/libsofthsm2.so || missing+=' softhsm2'; \
	"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || missing+=' python3-venv'; \
	.ci/packages $$missing

.venv/.locked: requirements.lock | packages
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "isoswitch needs Python 3.11 or newer; try: make setup PYTHON=python3.11" >&2; \
	    exit 1; }
	@echo "installing the locked packages into .venv"
	@test -x .venv/bin/pip || "$(PYTHON)" -m venv --clear .venv
	@$(PIP) install --require-hashes -r requirements.lock
	@touch $@

.venv/.installed: .venv/.locked pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
