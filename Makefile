# The six verbs: install, serve, check, test, bench, train. Each makes .venv where it is missing.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
BIN := .venv/bin
PAGE := $(filter-out %/node_modules %/tests,$(wildcard service/web/source/*))

.PHONY: install serve check test bench train images test-compose

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "satcle needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv

.venv/.serve: pyproject.toml $(PAGE) | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[serve]'
	@touch $@

.venv/.all: pyproject.toml $(PAGE) | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[serve,train,test]'
	@touch $@ .venv/.serve

install: .venv/.all

serve: .venv/.serve
	$(BIN)/satcle serve --host $(HOST) --port $(PORT)

check: .venv/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/python -m pytest

bench: .venv/.all
	$(BIN)/python -m tests.benchmarks

train: .venv/.all
	$(BIN)/satcle data get trainer/configs/earth-l30.yaml
	$(BIN)/satcle pretrain trainer/configs/earth-l30.yaml --resume
	$(BIN)/satcle export runs/earth-l30/best.ckpt --out service/bundles/earth-l30 --overwrite
	$(if $(HEADS),PATH="$(BIN):$$PATH" sh trainer/configs/earth-l30-heads.sh $(HEADS),@echo "without its heads: make train HEADS=folder (see trainer/configs/earth-l30-heads.sh)")

images:
	docker compose --profile gpu --profile train build

# On a real Docker Engine: images, containers, what happens when one is killed. Skips, and says why, where none can be had.
test-compose: .venv/.all
	SATCLE_TEST_IMAGES=1 $(BIN)/python -m pytest tests/deploy/test_compose.py tests/deploy/test_images.py
