# Everything sets itself up: `make demo` and `make test` work on a fresh machine with
# Python >= 3.11 and make. The environment lives in .venv; `make clean` removes it.

PYTHON ?= python3
BIN := .venv/bin
STAMPS := .venv/.stamps
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# torch first and by its exact version: asked for by a range, pip takes the newest build even where
# a CPU build of this one lies at hand. Where none does, pip takes the CUDA build on Linux, several
# GB: make TORCH='...' takes what follows "pip install" in the line from PyTorch's page instead.
TORCH := $(shell sed -n 's/^\(torch==.*\)/\1/p' constraints.txt)

# More options of the tests: make test PYTEST='-k words'
PYTEST ?=

.PHONY: demo test test-all web data bench check format clean

demo: $(STAMPS)/torch
	$(BIN)/python examples/demo.py

test: $(STAMPS)/dev
	$(BIN)/python -m pytest -n 2 -m "not slow" $(PYTEST)

test-all: $(STAMPS)/all
	$(BIN)/python -m pytest -n 2 $(PYTEST)

# What the page of `serve` needs of other makers (LiteRT.js), into src/mobilenetv2/serving/vendor.
# Without it the page works too, but computes on the server only. Needs Node.js 20 and npm.
web: web/node_modules/.built

web/node_modules/.built: web/package.json web/package-lock.json web/build.mjs
	cd web && npm ci --ignore-scripts --loglevel=error && npm run --silent build
	touch $@

# What the longer tests and the benchmarks read, into MOBILENETV2_DATA (else data/): 180 MB.
data: $(STAMPS)/torch
	$(BIN)/python benchmarks/public_data.py

# Predictions of thousands of photos, in turns with scripts of PEER, a virtual environment with
# torchvision, OpenVINO and ONNX Runtime (none by default).
bench: $(STAMPS)/all
	$(BIN)/python benchmarks/bulk.py $(if $(PEER),--peer $(PEER))

check: $(STAMPS)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMPS)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv build dist web/node_modules src/mobilenetv2/serving/vendor

$(BIN)/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Python 3.11 or newer is needed"'
	$(PYTHON) -m venv .venv
	mkdir -p $(STAMPS)

$(STAMPS)/torch: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) $(TORCH)
	$(PIP) --constraint constraints.txt --editable ".[torch]"
	touch $@

# The extra torch in the same call: pip looks at every package once.
$(STAMPS)/dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) $(TORCH)
	$(PIP) --constraint constraints.txt --editable ".[torch,serve,dev]"
	touch $@ $(STAMPS)/torch

$(STAMPS)/all: $(STAMPS)/dev
	$(PIP) --constraint constraints.txt --editable ".[export,jax,hub,tensorboard,heic,parquet,zstd,remote,ray,serve,against,clients,object-store,dev]"
	touch $@
