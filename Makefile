# The few commands that this project is used and worked on with. `make` alone lists them.
# Options of the programs: make run RUN="--base-port 9000", make bench BENCH="--rounds 9", make chaos CHAOS="--seed 7", make dashboards DASHBOARDS="--console https://sagas.example.org", make test PYTEST="-k stock".

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run test lint bench chaos dashboards messages screenshots venv stop clean

VENV := .venv
PY := $(VENV)/bin/python
UV := $(shell command -v uv 2>/dev/null)
# The Python to make the environment with; `make PYTHON=/path/to/python3` chooses another.
PYTHON ?= python3.13 python3.12 python3.11 python3.14 python3 python
# Development defaults; and no output that waits in a buffer.
export PYTHONUNBUFFERED := 1
# A user's pip settings that make no sense inside an environment of the project's own.
export PIP_USER := no
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run.installed ## everything on this machine: database, gateway, participants, orchestrator; Ctrl-C ends it
	@exec $(PY) -m devstack.run $(RUN)

# Two halves side by side: LIVE waits for processes, browsers and alerts most of its time, the other one computes. Given
# PYTEST, it is one run of what was asked for.
LIVE := tests/browser tests/chaos tests/monitoring

test: lint ## lint, and the whole test suite
ifdef PYTEST
	$(PY) -m pytest $(PYTEST)
else
	@mkdir -p .data; \
	TEST_POSTGRES=$(CURDIR)/.data/test-postgres-live $(PY) -m pytest -p no:cacheprovider --durations=15 $(LIVE) \
		>.data/test-live.log 2>&1 & live=$$!; \
	trap 'kill $$live 2>/dev/null' EXIT INT TERM; \
	echo "$(LIVE): in .data/test-live.log, shown when it has ended"; \
	$(PY) -m pytest --durations=15 $(addprefix --ignore=,$(LIVE)); rest=$$?; \
	echo "waiting for $(LIVE)"; wait $$live; alive=$$?; trap - EXIT; \
	cat .data/test-live.log; exit $$((rest || alive))
endif

# makemigrations only compares models and migrations: it is shown no database, and may not warn about that.
lint: $(VENV)/dev.installed ## style, types, dependency rule, migrations, gateway configuration
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	DEBUG=True DATABASE_URL=postgresql://saga@127.0.0.1:1/saga \
		$(PY) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(PY) -m devstack.kong_rules kong/kong.yml docker-compose.yml

bench: $(VENV)/run.installed ## what a saga costs (docs/benchmark.md)
	@exec $(PY) -m devstack.bench $(BENCH)

chaos: $(VENV)/dev.installed ## thousands of sagas while everything is killed, cut and delayed (docs/chaos.md)
	@exec $(PY) -m tests.chaos $(CHAOS)

dashboards: $(VENV)/dev.installed ## Grafana's dashboards, from their program (docs/monitoring.md)
	@exec $(PY) -m monitoring.grafana $(DASHBOARDS)

messages: $(VENV)/dev.installed ## the console's translations, brought up to date and compiled (docs/console.md)
	@exec $(PY) -m devstack.messages

screenshots: $(VENV)/dev.installed ## a picture of every page of the console, into docs/screenshots (docs/console.md)
	@exec $(PY) -m tests.browser.screenshots $(SCREENSHOTS)

venv: $(VENV)/dev.installed ## the virtual environment with all that development needs

stop: ## end a `make run` started elsewhere, and its database
	@if [ -x $(PY) ]; then $(PY) -m devstack.run --stop; fi

clean: stop ## remove the virtual environment, caches and ALL LOCAL DATA (.data)
	rm -rf .data $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache staticfiles
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/run.installed: requirements.txt requirements-run.txt | $(PY)
	$(call install,requirements-run.txt)
	@touch $@

$(VENV)/dev.installed: requirements.txt requirements-run.txt requirements-dev.txt | $(PY)
	$(call install,requirements-dev.txt)
	@touch $(VENV)/run.installed $@

define install
	@echo "installing $(1)"
	@if [ -n "$(UV)" ]; then "$(UV)" pip install --quiet --python $(PY) -r $(1); \
	else $(PY) -m pip install -qq -r $(1); fi
endef

define find_python
	for candidate in $(PYTHON); do \
		if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			found="$$candidate"; break; \
		fi; \
	done
endef

$(PY):
	@if [ -n "$(UV)" ]; then exec "$(UV)" venv --quiet --python '>=3.11' $(VENV); fi; \
	$(find_python); \
	if [ -z "$$found" ]; then \
		echo "Python 3.11 or later is needed, and none of these is one: $(PYTHON)." >&2; \
		echo "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.13)," >&2; \
		echo "or uv, which brings its own (https://docs.astral.sh/uv/), or say where it is: make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	"$$found" -m venv $(VENV) || { \
		rm -rf $(VENV); \
		echo "$$found cannot make a virtual environment (Debian, Ubuntu: apt install python3-venv)." >&2; \
		exit 1; \
	}
