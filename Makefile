# `make demo` and `make test` need nothing but Python: each makes .venv and installs what is missing first.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Tests run in as many processes as there are cores; each then gets one thread, or they would wait for each other.
PROCESSES ?= 2
PYTEST := OMP_NUM_THREADS=1 $(RUN)/pytest -n $(PROCESSES) --dist worksteal
APT := DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 --yes --no-install-recommends

.DEFAULT_GOAL := help
.PHONY: help demo test test-all chromium lint format docs

help:  ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED)  ## Enrol, degrade, restore and check two portraits; the results are in demo/out
	$(RUN)/python demo/run.py

test: lint chromium  ## Lint and the fast tests (under 3 minutes)
	$(PYTEST) -m "not slow"

test-all: lint chromium  ## Lint and all tests, the slow ones too (under 30 minutes)
	DMD_SCREENSHOTS="$${DMD_SCREENSHOTS:-$(CURDIR)/build/screenshots}" $(PYTEST)

chromium:  ## Install Debian's chromium for the tests of pages, where it is missing and that can be done
	@if test -n "$$DMD_CHROMIUM" || command -v chromium || command -v chromium-browser; then \
	  exit; \
	elif command -v apt-get && test "$$(id -u)" = 0; then \
	  $(APT) install chromium || { $(APT) update && $(APT) install chromium; } && exit; \
	fi > /dev/null; \
	echo "There is no chromium here, so the tests of pages are skipped. Debian's package chromium brings it."

lint: $(INSTALLED)  ## ruff and mypy
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

format: $(INSTALLED)  ## Lay out the code
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

docs: $(INSTALLED)  ## Write docs/cli.md from the program's own help
	$(RUN)/python docs/generate_cli.py

$(INSTALLED): pyproject.toml
	@test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@
