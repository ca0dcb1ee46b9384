# Everything the project does, by name: `make help`. Needs git, make, a C compiler and Python 3.11 to 3.14 with venv.

PYTHON    ?= python3
PLAN      ?= plans/vertebra-70C.toml
SESSIONS  ?= sessions
BOARD     ?= rpi_pico
NOTEBOOKS ?= $(wildcard notebooks/*.ipynb)
# pytest processes; `logical` is one per logical core.
WORKERS   ?= logical
# Seconds after which a run of the tests is stopped and failed.
UNIT_LIMIT_s ?= 120
TEST_LIMIT_s ?= 3600

VENV    := .venv
BIN     := $(VENV)/bin
RFPROBE := $(BIN)/rfprobe
PIP     := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq
# Only wheels with the hashes on file; compiling every module of theirs at once would cost half a minute.
PINNED  := --require-hashes --only-binary :all: --no-compile
PYTEST  := $(BIN)/python -m pytest
# The environment is made anew when the pins' content changes, so that it holds them and nothing else.
LOCKED  := $(VENV)/.locked-$(shell cat requirements/build.txt requirements/dev.txt | cksum | cut -d ' ' -f 1)
READY   := $(VENV)/.ready
TYPINGS := .typings/rp2/.ready .typings/esp32/.ready

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo serve unit test test-long faults faults-pico false-trips soak mutation bench lint format types image notebook packages lock clean

help: ## List these targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z][a-z-]*:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Variables: PYTHON=$(PYTHON) PLAN=$(PLAN) SESSIONS=$(SESSIONS) BOARD=$(BOARD) WORKERS=$(WORKERS)"

setup: $(READY) ## Make .venv with everything pinned in requirements/dev.txt, and the rfprobe command in it

demo: setup ## Simulate an ablation, report on it and say where the picture is
	$(RFPROBE) simulate $(PLAN) -o $(SESSIONS)
	$(RFPROBE) report last -o $(SESSIONS)
	@picture=$$(ls -t $(SESSIONS)/*.png | head -n 1); test -n "$$picture" && echo "The picture: $$picture"

serve: setup ## Put the virtual probe behind a port, for every host tool to meet as a board
	$(RFPROBE) simulate $(PLAN) --serve -o $(SESSIONS)

unit: setup ## The fast tests (a minute at most)
	$(PYTEST) tests/unit tests/host tests/boards -n $(WORKERS) -m "not (slow or pico or long or bench or hil)" --session-timeout=$(UNIT_LIMIT_s)

test: lint types ## Everything CI runs: lint, types and the whole suite
# The image first: its toolchain is fetched and built once, which no single test has the time for. Where none can be
# had, its tests say so and are skipped, which in CI is a failure. Tests that judge times never gate: `make bench`.
	$(BIN)/python -m rfprobe.image --board $(BOARD) || test -z "$$CI"
	$(PYTEST) tests -n $(WORKERS) -m "not (long or bench or hil)" --session-timeout=$(TEST_LIMIT_s)

test-long: setup ## What `make test` leaves out for its length: an hour or two of emulation, mostly
	$(BIN)/python -m rfprobe.image --board $(BOARD)
	$(PYTEST) tests -n $(WORKERS) -m "long and not (bench or hil)"

faults: setup ## Try every fault on the virtual probe; the table goes to docs/faults.md
	$(RFPROBE) campaign $(PLAN) -o docs

faults-pico: setup ## Try a dozen of them on the emulated chip (ten minutes); they go to docs/faults.md too
	$(RFPROBE) campaign $(PLAN) --runtime pico -o docs

false-trips: setup ## Do 3000 runs without faults, from where the last call ended, and bound the rate of false trips
	$(BIN)/python -m tests.safety.false_trips

soak: setup ## Run the virtual device for a day of its time, in all modes, with faults (a quarter of an hour)
	$(BIN)/python -m tests.runtimes.soak

mutation: setup ## Change what decides over heat, one place at a time; what survives is in docs/mutation.md (FILES=pid for one)
	$(BIN)/python -m tests.mutation $(FILES)

bench: setup ## Measure speed, tick cost and memory on this machine
	$(BIN)/python tests/bench/run.py

lint: setup ## Check style and formatting (ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## Format the sources and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup $(TYPINGS) ## Check types strictly: the host tools, then the firmware for the RP2040 and for the ESP32
	$(BIN)/basedpyright --project typecheck/host.json
	$(BIN)/basedpyright --project typecheck/rp2.json
	$(BIN)/basedpyright --project typecheck/esp32.json

image: setup ## Build the firmware image for BOARD
	$(BIN)/python -m rfprobe.image --board $(BOARD)

notebook: setup ## Run the notebooks from the top and keep their output in them
	@test -n "$(NOTEBOOKS)" || { echo "notebook: none found" >&2; exit 1; }
	$(BIN)/jupyter execute --inplace $(NOTEBOOKS)

packages: ## Install the Debian packages that some tests need (as root)
	@scripts/debian-packages.sh

lock: .venv-lock/.ready ## Resolve pyproject.toml into requirements/*.txt (UPGRADE=1 takes newer releases)
	@scripts/lock.sh .venv-lock/bin/uv $(if $(UPGRADE),--upgrade)

clean: ## Remove what was made here: environments, stubs, caches, builds. Sessions stay
	rm -rf $(VENV) .venv-lock .typings build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(LOCKED):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 15) else "setup: rfprobe needs Python 3.11 to 3.14, and $(PYTHON) is %d.%d; name another with PYTHON=" % v)'
	@echo "setup: installing the pinned packages (350 MB to fetch, 1.4 GB on disk) into $(VENV): a minute or two"
	@$(PYTHON) -m venv --clear $(VENV)
# esptool comes as source alone: it is built by the setuptools of build.txt, which the hashes vouch for as well.
	@$(PIP) install $(PINNED) -r requirements/build.txt
	@$(PIP) install $(PINNED) --no-binary esptool --no-build-isolation -r requirements/dev.txt
	@touch $@

$(READY): $(LOCKED) pyproject.toml firmware/rfprobe_core/version.py
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.typings/%/.ready: requirements/typings-%.txt | $(READY)
	@rm -rf $(@D)
	@$(PIP) install $(PINNED) --no-deps --target $(@D) -r $<
	@touch $@

.venv-lock/.ready: requirements/lock.txt
	@$(PYTHON) -m venv --clear .venv-lock
	@.venv-lock/bin/python -m pip --disable-pip-version-check --no-input -qq install $(PINNED) -r $<
	@touch $@
