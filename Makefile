# Words: demo test check fix bench bench-sync bench-serve fuzz docs shots strangers clean
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := central_platform edge_server stb_emulator sync media wire domain runtime fixtures
ALL := $(CODE) tests benchmarks scripts

.PHONY: demo test check fix bench bench-sync bench-serve fuzz docs shots strangers clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    publish, sync, play on every box; KEEP=1 keeps serving, DEMO_MEDIA='a.mp4 b.mkv' takes real files"
	@echo "make test    check, then every test (installs the foreign players it needs when run as root)"
	@echo "make check   import contract, ruff, mypy, module lengths"
	@echo "make fix     let ruff mend what it can"
	@echo "make bench   measure against peers in the same run"
	@echo "make bench-sync  bring libraries up to date: ours, rsync, zsync, casync in the same run (25 minutes)"
	@echo "make bench-serve  the whole edge under load: against nginx, gst-rtsp-server, PyAV, aiortc (25 minutes; BENCH_ARGS=--quick: 7)"
	@echo "make fuzz    a million changed messages for every parser that reads a stranger's bytes (FUZZ_ARGS='rtsp --messages 1000': a few for one)"
	@echo "make shots   a picture of every page of the portal at every size (folder .shots, or SHOTS=folder)"
	@echo "make docs    regenerate the command reference and check every link"

$(STAMP): pyproject.toml constraints.txt scripts/venv.sh
	@PYTHON="$(PYTHON)" scripts/venv.sh $(VENV)
	@touch $@

demo: $(STAMP)
	@$(BIN)/python scripts/demo.py

test: check strangers
	@$(BIN)/pytest -n 2 --dist loadfile $(PYTEST_ARGS)

check: $(STAMP)
	@$(BIN)/ruff check $(ALL)
	@$(BIN)/ruff format --check $(ALL)
	@$(BIN)/lint-imports
	@$(BIN)/mypy
	@$(BIN)/python scripts/module_lengths.py $(CODE)

fix: $(STAMP)
	@$(BIN)/ruff check --fix $(ALL)
	@$(BIN)/ruff format $(ALL)

bench: $(STAMP) strangers
	@$(BIN)/python benchmarks/progressive.py

bench-sync: $(STAMP)
	@scripts/strangers.sh bench
	@$(BIN)/python -m benchmarks.sync $(BENCH_ARGS)

bench-serve: $(STAMP)
	@scripts/strangers.sh bench
	@$(BIN)/python -m benchmarks.serve $(BENCH_ARGS)

fuzz: $(STAMP)
	@$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

docs: $(STAMP)
	@$(BIN)/python scripts/docs.py

shots: $(STAMP) strangers
	@$(BIN)/python -m scripts.shots $(SHOTS)

strangers:
	@scripts/strangers.sh

clean:
	rm -rf $(VENV) .demo .strangers .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
