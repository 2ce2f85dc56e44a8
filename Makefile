# Everything is installed inside the checkout: .venv, .venv-mlflow, .tools. `make clean` removes it.

PYTHON = python3
BIN = .venv/bin
INSTALL = $(PYTHON) tests/lab/install.py
MINUTES =

SERVERS = .venv-mlflow/.done .tools/debian.done .tools/postgres.done

help:
	@echo 'make demo [MINUTES=n]  a real MLflow, Postgres, load, exporter, Prometheus on this machine; Ctrl-C ends'
	@echo 'make test              all of: lint types unit contract integration'
	@echo 'make tools             install what these need, inside the checkout; they do it themselves'
	@echo 'make clean             remove all that was installed or built'

# One after the other, so that the first failure is the last thing on the screen.
test:
	@for step in lint types unit contract integration; do $(MAKE) --silent $$step || exit 1; done

lint: .venv/.done
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: .venv/.done
	@$(BIN)/mypy --no-error-summary

unit contract: .venv/.done
	@$(BIN)/pytest -q -m $@

# Side by side, since most of the time is waiting for servers to start; a file's tests share its servers.
integration: tools
	@$(BIN)/pytest -q --durations=10 -n 3 --dist loadfile -m $@

demo: tools
	@exec $(BIN)/python -m tests.lab $(MINUTES)

venv: .venv/.done

tools: .venv/.done
	@$(MAKE) --silent -j3 $(SERVERS)

.venv/.done: pyproject.toml tests/constraints.txt
	@echo 'installing the project and its tools into .venv'
	@$(INSTALL) dev
	@touch $@

.venv-mlflow/.done: tests/lab/mlflow-constraints.txt
	@echo 'installing MLflow into .venv-mlflow'
	@$(INSTALL) mlflow
	@touch $@

.tools/debian.done:
	@echo 'unpacking Prometheus, Alertmanager and PgBouncer into .tools'
	@$(INSTALL) debian
	@touch $@

.tools/postgres.done: tests/lab/install.py
	@echo 'unpacking Postgres 13 to 18 into .tools'
	@$(INSTALL) postgres
	@touch $@

clean:
	@rm -rf .venv .venv-mlflow .tools .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info

.PHONY: help test lint types unit contract integration demo venv tools clean
