# Everything is installed inside the checkout: .venv, .venv-mlflow, .tools. `make clean` removes it.

PYTHON = python3
BIN = .venv/bin
INSTALL = $(PYTHON) tests/lab/install.py
MINUTES =
FAULT =
STEPS = lint types unit contract fuzz-ci lint-pack integration bench-ci

SERVERS = .venv-mlflow/.done .tools/debian.done .tools/postgres.done

help:
	@echo 'make demo [MINUTES=n]  a real MLflow, Postgres, load, exporter, Prometheus on this machine; Ctrl-C ends'
	@echo 'make demo FAULT=cause  the same, and what is notified when that cause is made to happen and undone'
	@echo 'make test              all of: $(STEPS)'
	@echo 'make lint-pack         lint the alerts and run their tests, with promtool and amtool'
	@echo 'make fuzz              what must hold for any input, with 100,000 of them, into tests/FUZZ.md; fuzz-ci: with few'
	@echo 'make faults            make every cause happen, write tests/faults/MATRIX.md, ask the dashboards; faults-ci: some'
	@echo 'make bench             measure what it costs beside what it replaces, write tests/bench/RESULTS.md; 20 minutes'
	@echo 'make compose-test      run docker-compose.yml on a Docker Engine of its own, to a notification; as root, 13 minutes'
	@echo 'make soak [MINUTES=n]  compressed days of the exporter, an hour of them: does it grow, is it ever late'
	@echo 'make oldest            run tests with the oldest dependencies that pyproject.toml allows, half of it servers'
	@echo 'make audit             ask pip-audit about the versions that are tested; needs pypi.org'
	@echo 'make release-check     install the wheel on each Python from 3.11 to 3.13 that is here, and run it'
	@echo 'make tools             install what these need, inside the checkout; they do it themselves'
	@echo 'make clean             remove all that was installed or built'

# One after the other, so that the first failure is the last thing on the screen.
test:
	@for step in $(STEPS); do $(MAKE) --silent $$step || exit 1; done

lint: .venv/.done
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: .venv/.done
	@$(BIN)/mypy --no-error-summary

unit: .venv/.done
	@$(BIN)/pytest -q -m unit

contract: .venv/.done
	@$(BIN)/pytest -q -m 'contract and not pack'

# pint, mixtool and dashboard-linter come from the Go proxy alone, which not everybody may ask: tests/contract/lint_*.py
# make their checks. promtool and amtool are the oldest that the pack is for, Debian 12's, and Debian's newest.
lint-pack: .venv/.done .tools/debian.done .tools/current.done
	@$(BIN)/pytest -q -n 4 --maxschedchunk 1 -m pack

# Side by side, since most of the time is waiting for servers to start; a file's tests share its servers.
integration: servers
	@$(BIN)/pytest -q --durations=10 -n 4 --dist loadfile --no-loadscope-reorder -m 'integration and not pack'

demo: servers
	@exec $(BIN)/python -m tests.lab $(MINUTES) $(if $(FAULT),--fault '$(FAULT)')

# Few cases, and always the same ones: a check of a commit is not red by chance.
fuzz-ci: .venv/.done .tools/debian.done
	@$(BIN)/pytest -q -n 4 --maxschedchunk 1 tests/fuzz

fuzz: .venv/.done .tools/debian.done
	@FUZZ=full $(BIN)/pytest -q -n 4 --maxschedchunk 1 tests/fuzz

# What the dashboards show of each fault is asked of the series that were kept of it.
faults: servers
	@$(BIN)/python -m tests.faults --keep build/faults
	@exec $(BIN)/python -m tests.faults.boards build/faults

faults-ci: servers
	@exec $(BIN)/python -m tests.faults --ci

# Beside Debian's postgres_exporter, process-exporter and blackbox_exporter; on a machine that does nothing else.
bench: servers .tools/peers.done
	@exec $(BIN)/python -m tests.bench --write

# Its ratios and counts, which hold on a busy machine too.
bench-ci: servers .tools/peers.done
	@$(BIN)/pytest -q -m bench

# Debian's Docker Engine, in namespaces of its own, with stand-ins for the public images.
compose-test: .tools/engine.done .tools/postgres.done .tools/current.done
	@$(BIN)/python -m tests.compose

# Says at its end what grew by how much; all that was seen is in build/soak/record.json.
soak: servers
	@exec $(BIN)/python -m tests.soak $(or $(MINUTES),60)

# Older versions of msgspec leave a line out of the settings' schema, which is committed as the newest writes it.
oldest: .venv-oldest/.done servers
	@.venv-oldest/bin/pytest -q -n 3 -m 'unit or (contract and not pack)' \
	  --deselect tests/contract/test_settings_schema.py::test_the_committed_schema_is_current
	@.venv-oldest/bin/pytest -q -n 3 --dist loadfile -m integration tests/integration/test_service.py \
	  tests/integration/test_probes.py tests/integration/test_pack_site.py

# An answer that an index does not have counts as a failure, so where pypi.org cannot be asked this says no.
audit: .venv-audit/.done
	@.venv-audit/bin/pip-audit --strict --no-deps --disable-pip --requirement tests/constraints.txt

release-check: .venv/.done
	@RELEASE_PYTHONS=all $(BIN)/pytest -q tests/integration/test_release.py

venv: .venv/.done

servers: .venv/.done
	@$(MAKE) --silent -j3 $(SERVERS)

# All at once, since most of the time is waiting for a mirror.
tools: .venv/.done
	@$(MAKE) --silent -j5 $(SERVERS) .tools/current.done .tools/peers.done

.venv/.done: pyproject.toml tests/constraints.txt
	@echo 'installing the project and its tools into .venv'
	@$(INSTALL) dev
	@touch $@

.venv-oldest/.done: .venv/.done pyproject.toml tests/constraints.txt
	@echo 'installing the project with its oldest dependencies into .venv-oldest'
	@$(INSTALL) oldest
	@touch $@

.venv-audit/.done: tests/lab/install.py
	@echo 'installing pip-audit into .venv-audit'
	@$(INSTALL) audit
	@touch $@

.venv-mlflow/.done: tests/lab/mlflow-constraints.txt
	@echo 'installing MLflow into .venv-mlflow'
	@$(INSTALL) mlflow
	@touch $@

.tools/debian.done: tests/lab/install.py
	@echo 'unpacking Prometheus, Alertmanager and PgBouncer into .tools'
	@$(INSTALL) debian
	@touch $@

.tools/engine.done: tests/compose/install.py .venv/.done
	@echo 'unpacking a Docker Engine and a Debian for its images into .tools'
	@$(BIN)/python -m tests.compose.install
	@touch $@

.tools/postgres.done: tests/lab/install.py
	@echo 'unpacking Postgres 13 to 18 into .tools'
	@$(INSTALL) postgres
	@touch $@

# Without a done-file where it did not come to be, so that the next run tries again.
.tools/current.done: tests/lab/install.py
	@echo 'unpacking the oldest and the current promtool and amtool into .tools'
	@if $(INSTALL) current; then touch $@; else echo 'that failed: the alerts are checked by those of this machine alone'; fi

.tools/peers.done: tests/lab/install.py
	@echo 'unpacking the exporters that ours is measured beside into .tools'
	@$(INSTALL) peers
	@touch $@

clean:
	@rm -rf .venv .venv-oldest .venv-audit .venv-mlflow .tools .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info

.PHONY: help test lint types unit contract lint-pack integration demo fuzz fuzz-ci faults faults-ci bench bench-ci compose-test soak oldest audit \
  release-check venv servers tools clean
