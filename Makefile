# What a newcomer runs: `make serve` and `make test`. Both install what they need into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SCRATCH := $(shell mktemp -u /tmp/backendapi-check.XXXXXX)

# Byte code is written even where the environment says otherwise: every start reads a hundred modules.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: serve test check bench format requirements clean

serve: $(VENV)/.installed-serve
	@$(BIN)/python -m scripts.migrate
	@exec $(BIN)/python main.py

test: $(VENV)/.installed-dev
	$(BIN)/pytest

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	DATABASE_URL=sqlite:///$(SCRATCH).db $(BIN)/alembic upgrade head
	DATABASE_URL=sqlite:///$(SCRATCH).db $(BIN)/alembic check
	DATABASE_URL=sqlite:///$(SCRATCH).db $(BIN)/python -m scripts.generate_models --check
	@rm -f $(SCRATCH).db*

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.growth

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Pins for every platform, without an index line; needs `pip install uv`.
requirements:
	uv pip compile pyproject.toml -q --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header -o requirements-serve.txt
	uv pip compile pyproject.toml -q --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header --extra dev -c requirements-serve.txt -o requirements.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "This needs Python 3.11 or newer; say which with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-serve: requirements-serve.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-serve.txt
	@touch $@

$(VENV)/.installed-dev: requirements.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@ $(VENV)/.installed-serve
