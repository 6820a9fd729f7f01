# What people run. `make` alone lists the targets; every target can be repeated and repairs what is half done.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint requirements/constraints.txt
PINS := pyproject.toml requirements/constraints.txt
STUBS := micropython-esp32-stubs==1.26.0.post1
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-setup lint firmware flash pictures model torture torture-engines test-cluster bench-crypto bench-tap bench-journal bench-settlement bench-settlement-flat clean
.DELETE_ON_ERROR:

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-21s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.run-time ## Install the run-time part into .venv

demo: setup ## A day of offline payments on five simulated devices
	@$(BIN)/jiaozi demo

test: test-setup lint ## Everything a change must pass: ruff, pyright for host and firmware, pytest
	$(BIN)/pytest -n $(WORKERS)

lint: test-setup ## Style and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --project pyrightconfig.json
	$(BIN)/pyright --project pyrightconfig.firmware.json

test-setup: $(VENV)/.test typings/.installed

firmware: setup ## Compile a board's firmware and lay out its flash: make firmware BOARD=esp32-pos [MICROPYTHON=FILE]
	@test -n "$(BOARD)" || { echo "Which board? For example: make firmware BOARD=esp32-pos. There are:"; ls -d boards/*/; exit 2; }
	@$(BIN)/python -m host_tools.images.compile $(BOARD) build/firmware/$(BOARD)
	@! grep -q '^\[partitions\]' boards/$(BOARD)/board.toml || $(BIN)/jiaozi build $(BOARD) $(if $(MICROPYTHON),--micropython "$(MICROPYTHON)")

flash: setup ## Write a board's flash: make flash BOARD=esp32-pos PORT=/dev/ttyUSB0 [MICROPYTHON=FILE]
	@test -n "$(BOARD)" || { echo "Which board? For example: make flash BOARD=esp32-pos PORT=/dev/ttyUSB0"; exit 2; }
	@$(BIN)/jiaozi flash $(BOARD) $(if $(PORT),--port "$(PORT)") $(if $(MICROPYTHON),--micropython "$(MICROPYTHON)")

pictures: test-setup ## Draw the README's picture again, from the simulator's own screens
	$(BIN)/python -m host_tools.story.pictures docs/pictures/tap.png

model: test-setup ## Search the protocol's model for a state that loses or makes money (needs spin and gcc)
	@$(BIN)/python -m tests.model

torture: test-setup ## Attack everything at full length: two hours on two cores; the last line is JSON
	@$(BIN)/python -m tests.torture

torture-engines: test-setup ## Kill each database and the service on it 200 times while they settle: 80 minutes; the last line is JSON
	@$(BIN)/python -m tests.engines.kills

test-cluster: test-setup ## Kill a node of a MariaDB Galera cluster while it settles (installs Debian's where it can)
	@.ci/debian "mariadbd mariadb-install-db" "mariadb-server-core mariadb-client-core galera-4" "no cluster is killed"
	$(BIN)/pytest -m cluster tests/engines

bench-crypto: test-setup ## Count what the devices' cryptography costs on each kind of chip
	@$(BIN)/jiaozi bench crypto

bench-tap: test-setup ## Model how long a sale takes on real boards, part by part
	@$(BIN)/jiaozi bench tap --json

bench-journal: test-setup ## Time how long a start takes to read a full journal of 1 MB
	@$(BIN)/python -m tests.persistence.recovery_time

bench-settlement: test-setup ## Measure how fast the ledger settles on three engines, as JSON: [ARGS="--engines sqlite"]
	@.ci/debian "postgres" "postgresql" "PostgreSQL is not measured" >&2
	@$(BIN)/python -m tests.benchmarks.settlement $(ARGS)

bench-settlement-flat: test-setup ## The same again with 5,000,000 Transfers in the ledger (an hour): [ARGS="--engines sqlite"]
	@.ci/debian "postgres" "postgresql" "PostgreSQL is not measured" >&2
	@$(BIN)/python -m tests.benchmarks.settlement --fill 5000000 $(ARGS)

clean: ## Remove what was built; .venv and typings stay
	rm -rf build .pytest_cache .ruff_cache .hypothesis

# Python 3.11 or newer makes the environment: PYTHON if it is given, else the first that runs and is new enough.
$(VENV)/bin/python:
	@for python in $(or $(PYTHON),python3 python3.11 python3.12 python3.13); do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			echo "Making $(VENV) with $$("$$python" --version)"; \
			"$$python" -m venv $(VENV) && exit 0; \
			echo "$$python could not make $(VENV). On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; \
		fi; \
	done; \
	echo "jiaozi needs Python 3.11 or newer; $(or $(PYTHON),python3) is $$($(or $(PYTHON),python3) --version 2>&1 || true)."; \
	echo "Install one (https://www.python.org/downloads), or name it: make PYTHON=/path/to/python3.12 ..."; \
	exit 1

$(VENV)/.run-time: $(PINS) | $(VENV)/bin/python
	@echo "Installing the run-time part into $(VENV) (a minute the first time)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(PINS) | $(VENV)/bin/python
	@echo "Installing the run-time part and the test tools into $(VENV) (a few minutes the first time)"
	@$(PIP) --editable '.[test]'
	@touch $@ $(VENV)/.run-time

# Apart from the environment: the stubs would shadow the host's standard library.
typings/.installed: Makefile | $(VENV)/bin/python
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --upgrade --target typings $(STUBS)
	@touch $@
