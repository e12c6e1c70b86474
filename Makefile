# Everything sets itself up: Python 3.11 or newer (with its venv module) and make are all that is needed.
#   make demo                   joints on a photograph, through the gRPC server
#   make demo IMAGE=my.jpg      … on yours
#   make test                   lint, types and tests
# TORCH_INDEX=URL  for `make test`: an extra package index to take PyTorch's CPU build from; without it, pip takes the
#                  default build, which on Linux brings gigabytes of CUDA libraries.

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
IMAGE ?= demo/astronaut.jpg
export IMAGE

.PHONY: demo test lint types fast proto clean

demo: $(VENV)/.demo
	$(VENV)/bin/python demo/run.py

test: lint types
	$(VENV)/bin/python -m pytest

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.dev
	$(VENV)/bin/mypy

# The tests without the slow ones, for while you work.
fast: $(VENV)/.dev
	$(VENV)/bin/python -m pytest -m "not slow"

# The generated code is committed; this writes it anew.
proto: $(VENV)/.dev
	$(VENV)/bin/python -m grpc_tools.protoc -I proto \
	  -I "$$($(VENV)/bin/python -c 'import google.rpc.status_pb2 as s; print(s.__file__.rsplit("/google/rpc", 1)[0])')" \
	  --python_out=proto --pyi_out=proto --grpc_python_out=proto \
	  poseglass_proto/v1/pose.proto poseglass_proto/oip/inference.proto

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV) || (rm -rf $(VENV); echo "Python's venv module is missing (on Debian: apt install python3-venv)"; exit 1)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e ".[cpu]"
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) $(if $(TORCH_INDEX),--extra-index-url "$(TORCH_INDEX)") -e ".[dev]"
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache demo-output
