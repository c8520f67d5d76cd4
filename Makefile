# One command each, on a fresh clone with nothing but Python and make. `make help` lists them.
#   PYTHON=...    the Python to use (3.11, 3.12 or 3.13; default: the first one found)
#   PIP_ARGS=...  more arguments for pip, such as another index for PyTorch's CPU build
#   LAB_ARGS=...  arguments for JupyterLab
#   CHAPTERS=...  chapters to build, run or assign, such as "01 03" (default: all)
#   JOBS=...      chapters that make run executes side by side (default: as cores and memory allow)
#   ASSIGNMENT=... and SUBMISSIONS=...  for make marks: the two folders
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
PYTHON ?=
PIP_ARGS ?=
LAB_ARGS ?=
CHAPTERS ?=
JOBS ?= 0
ASSIGNMENT ?=
SUBMISSIONS ?=
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# Where the tests of TensorFlow Federated are required, so is its environment.
TFF_MISSING = test -z "$(FEDLAB_REQUIRE_TFF)"
PIP := $(PY) -m pip install --quiet --disable-pip-version-check

.PHONY: help setup lab run test chapters assignment marks tff doctor bench lint lock clean

help: ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

setup: $(VENV)/.core ## make the environment (.venv) and install the course

lab: $(VENV)/.core ## open JupyterLab on chapter 0
	@$(BIN)/jupyter lab chapters/00_welcome.ipynb $(LAB_ARGS)

run: $(VENV)/.core tff ## execute every chapter; print results, seconds and peak memory
	@$(PY) -m fedlab_utils.course.build --run --jobs $(JOBS) $(CHAPTERS)

test: $(VENV)/.dev tff ## run everything: style, types, tests
	@$(BIN)/ruff check . || { echo 'ruff found the above: `make lint` repairs most of it.'; exit 1; }
	@$(BIN)/ruff format --check . || { echo 'Run `make lint` to format these files.'; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/pytest --cov $(PYTEST_ARGS)

chapters: $(VENV)/.dev tff ## build the notebooks whose source or code has changed
	@$(PY) -m fedlab_utils.course.build $(CHAPTERS)

assignment: $(VENV)/.core ## pack notebooks for a class, such as CHAPTERS="03 06"
	@$(PY) -m fedlab_utils.course.assignment release $(CHAPTERS)

marks: $(VENV)/.core ## mark what came back: ASSIGNMENT=build/assignment/03-06 SUBMISSIONS=...
	@$(PY) -m fedlab_utils.course.assignment collect $(ASSIGNMENT) $(SUBMISSIONS)

# Where it cannot be had, the command says why, and its chapter and tests are left out.
tff: $(VENV)/.core ## make the environment of TensorFlow Federated (2 GB, Linux only)
	@$(PY) -m fedlab_utils.runtimes.tff install || $(TFF_MISSING)

doctor: $(VENV)/.core ## list what works here, and the command for what is missing
	@$(PY) -m fedlab_utils.course.doctor

bench: $(VENV)/.core ## measure client updates per second
	@$(PY) -m fedlab_utils.federate.bench

.PHONY: book slides browser
book: $(VENV)/.book ## build the book: build/book/html/index.html
	@$(PY) -m fedlab_utils.course.book

slides: $(VENV)/.book ## make slides of each chapter: build/slides/index.html
	@$(PY) -m fedlab_utils.course.slides $(CHAPTERS)

browser: $(VENV)/.book ## test book, slides and JupyterLab in Chromium
	@$(BIN)/pytest -m browser $(PYTEST_ARGS)

lint: $(VENV)/.dev ## format the code and repair what can be repaired
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(VENV)/.dev ## renew requirements/*.lock
	@$(PIP) uv
	@$(PY) requirements/lock.py

clean: ## remove the environment and caches
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find fedlab_utils tests chapters -name __pycache__ -prune -exec rm -rf {} +

# --- set-up: each stamp is renewed when a lock or pyproject.toml has changed ---

$(PY):
	@python=""; \
	for one in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
	  if "$$one" -c '$(FITS)' >/dev/null 2>&1; then python=$$one; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'No suitable Python: the course needs 3.11, 3.12 or 3.13.' >&2; \
	  echo 'Install one (python.org/downloads, or your package manager), or name it:' >&2; \
	  echo '  make PYTHON=/path/to/python3.12 $(or $(MAKECMDGOALS),setup)' >&2; exit 1; \
	fi; \
	echo "Making the environment $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV) || { rm -rf $(VENV); \
	  echo 'Python could not make an environment. On Debian and Ubuntu: apt install python3-venv' >&2; \
	  exit 1; }

$(VENV)/.core: requirements/core.lock pyproject.toml | $(PY)
	@$(call install,core)

$(VENV)/.dev: requirements/dev.lock pyproject.toml | $(PY)
	@$(call install,dev)
	@touch $(VENV)/.core

$(VENV)/.book: requirements/book.lock pyproject.toml | $(PY)
	@$(call install,book)
	@touch $(VENV)/.core $(VENV)/.dev

# Locked packages first, then the course itself, editable and without asking for dependencies.
define install
	echo 'Installing requirements/$(1).lock: a few minutes the first time.'; \
	if ! { $(PIP) $(PIP_ARGS) -r requirements/$(1).lock && $(PIP) --no-deps --editable .; }; then \
	  echo; echo 'Installing failed; the lines above say why. What helps most often:' >&2; \
	  echo '  no network, or a proxy: set HTTPS_PROXY, then run the same command again' >&2; \
	  echo '  too little disk:        PyTorch for GPUs takes 6 GB; see "Set-up" in README.md for the CPU build' >&2; \
	  echo '  a broken environment:   make clean, then run the same command again' >&2; \
	  exit 1; \
	fi; \
	touch $(VENV)/.$(1)
endef
