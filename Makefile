# Orewatch: what a person types. `make` alone lists the targets.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
MANIFEST := dbt_project/target/manifest.json
DBT_FILES := $(shell find dbt_project -name target -prune -o \( -name '*.sql' -o -name '*.yml' \) -print)

# Superset has an environment of its own: it brings older releases of what the project uses.
DASHBOARD := .venv-dashboard
DASHBOARD_PYTHON ?= $(PYTHON)

export DAGSTER_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
# Hundreds of processes of the tests would compile the same files again, each for itself.
export PYTHONDONTWRITEBYTECODE :=

# Dagster for a team: each target does what deploy/Procfile says under its name, in the environment of deploy/team.env;
# what is set already wins.
TEAM := code-server webserver daemon
define in_team
given="$$(export -p)"; set -a; . ./deploy/team.env; set +a; eval "$$given"; \
: "$${DAGSTER_POSTGRES_PASSWORD:?is not set: the password of $$DAGSTER_POSTGRES_USER, see docs/deploy.md}"; \
export DAGSTER_HOME="$${DAGSTER_HOME:-$$(realpath -m "$${OREWATCH_HOME:-data}")/$${OREWATCH_SOURCE:-sample}/team}"; \
PATH="$$(cd $(BIN) && pwd):$$PATH"; \
command="$$(sed -n 's/^$(1): *//p' deploy/Procfile)"
endef

.PHONY: help install manifest demo dev dashboard dashboard-password dashboard-environment team team-release \
  $(TEAM:%=team-%) refresh status claims test test-all test-rest torture faults golden lint validate format docs bench \
  bench-evening bench-large bench-lake bench-publish bench-yahoo lock parity spark-environment clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

install: $(INSTALLED) ## create the environment in .venv

$(INSTALLED): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || \
	  { echo "There is no $(PYTHON) here; name a Python of 3.11 or newer that you have: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "Installing into $(VENV) (about 1.7 GB; a minute or two the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

manifest: $(MANIFEST) ## prepare the dbt manifest that Dagster loads

$(MANIFEST): $(INSTALLED) $(DBT_FILES)
	@echo "Preparing the dbt manifest"
	@$(BIN)/python -m orchestration.transform.dbt --quiet parse
	@touch $@

demo: $(MANIFEST) ## run everything on the simulated market and show what was flagged
	@OREWATCH_SOURCE=sample $(BIN)/orewatch refresh
	@echo "Look at it: make dashboard, or make dev for the run itself"

dev: $(MANIFEST) ## open the Dagster web UI on http://127.0.0.1:3000
	@$(BIN)/orewatch dev $(if $(PORT),--port $(PORT))

dashboard: $(MANIFEST) dashboard-environment ## show the published tables as a dashboard on http://127.0.0.1:8088
	@$(BIN)/python -m dashboard.serve $(if $(PORT),--port $(PORT))

dashboard-password: $(MANIFEST) dashboard-environment ## give the user of the dashboard another password
	@$(BIN)/python -m dashboard.serve --new-password

dashboard-environment: $(DASHBOARD)/.installed ## install Superset for the dashboard in .venv-dashboard

$(DASHBOARD)/.installed: dashboard/requirements.lock
	@command -v $(DASHBOARD_PYTHON) >/dev/null || \
	  { echo "There is no $(DASHBOARD_PYTHON) here; name a Python 3.11 or 3.12 that you have: make DASHBOARD_PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(DASHBOARD_PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
	  { echo "Superset needs Python 3.11 or 3.12; $(DASHBOARD_PYTHON) is $$($(DASHBOARD_PYTHON) -V 2>&1). Try: make DASHBOARD_PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing Superset into $(DASHBOARD) (about 0.9 GB; a minute or two the first time)"
	@$(DASHBOARD_PYTHON) -m venv $(DASHBOARD)
	@$(DASHBOARD)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

team: team-release ## Dagster for a team, on PostgreSQL: code server, web UI and daemon; see docs/deploy.md
	@$(MAKE) --no-print-directory --jobs $(TEAM:%=team-%)

team-release: $(MANIFEST)
	@$(call in_team,release); eval "$$command"

$(TEAM:%=team-%): team-%: $(MANIFEST)
	@$(call in_team,$*); eval "exec $$command"

refresh: $(MANIFEST) ## bring the source named by OREWATCH_SOURCE up to date
	@$(BIN)/orewatch refresh

status: $(MANIFEST) ## show what is stored and how fresh it is
	@$(BIN)/orewatch status

claims: $(MANIFEST) ## hold published claims against the tables
	@$(BIN)/orewatch verify-claims

# What goes to one process together, and what begins first, says tests/scheduling.py. One process more than there are cores: some
# tests wait for others. Of the slow ones each has processes of its own.
PROCESSES := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
test-all test-rest: PROCESSES := auto
PYTEST = $(BIN)/python -m pytest --numprocesses $(PROCESSES) --maxprocesses 5 --dist loadscope --no-loadscope-reorder --durations 15

test: $(MANIFEST) ## what a person waits for: units, formulas, properties, the job itself; minutes
	@$(PYTEST)

test-all: $(MANIFEST) ## all of it: Spark, Superset, browser, team, PostgreSQL, object store, documents too
	@$(PYTEST) -m "not torture"

test-rest: $(MANIFEST)
	@$(PYTEST) -m "slow and not torture"

torture: $(MANIFEST) ## faults by the hundred: kills, full disks, bad data, readers; half an hour or so
	@$(BIN)/python -m pytest -m torture --numprocesses auto --maxprocesses 4 --dist loadscope -rP

faults: $(MANIFEST) ## put thirty faults into the code, one at a time, and see the tests find them; hours
	@$(BIN)/python -m tests.faults.run --everything

lint: $(MANIFEST) validate ## ruff, mypy and sqlfluff, and what Dagster loads
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/sqlfluff lint --disable-progress-bar --processes 0 dbt_project/models

# `dg check defs` follows it, and takes no workspace. Without a DAGSTER_HOME it makes a folder in the checkout.
validate: $(MANIFEST) ## let Dagster load what workspace.yaml names; seconds, and no home is needed
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && touch "$$home/dagster.yaml" && DAGSTER_HOME="$$home" PYTHONWARNINGS=ignore \
	  $(BIN)/dagster definitions validate --log-level warning -w workspace.yaml

format: $(INSTALLED) ## let ruff and sqlfluff put the code in order
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .
	@$(BIN)/sqlfluff fix --disable-progress-bar --quiet dbt_project/models

golden: $(MANIFEST) ## hold every measure against trusted implementations
	@$(BIN)/python -m tests.golden.compare 2>/dev/null || { echo "see: $(BIN)/python -m tests.golden.compare"; exit 1; }

docs: $(MANIFEST) ## build the documentation of the models into dbt_project/target/static_index.html
	@OREWATCH_WAREHOUSE=:memory: $(BIN)/python -m orchestration.transform.dbt --quiet docs generate --static --empty-catalog
	@echo "Open dbt_project/target/static_index.html"

bench: $(MANIFEST) ## everyday waiting times, as ratios measured side by side
	@$(BIN)/python -m benchmarks.everyday

bench-large: $(MANIFEST) ## half a million SIMULATED bars through the models, beside Polars and pandas, and small increments; minutes
	@$(BIN)/python -m benchmarks.large
	@$(BIN)/python -m benchmarks.increments

bench-evening: $(MANIFEST) ## a refresh of one new session, from bars in hand to published, beside Polars; minutes
	@$(BIN)/python -m benchmarks.evening

bench-lake: $(MANIFEST) ## the lake at scale, against plain PyArrow; minutes
	@$(BIN)/python -m benchmarks.lake

bench-publish: $(MANIFEST) ## a publication beside DuckDB's copy, of the default universe and of small increments of a large market; minutes
	@$(BIN)/python -m benchmarks.publish
	@$(BIN)/python -m benchmarks.publish 100 20 --large-rows 100000

bench-yahoo: $(MANIFEST) ## asking thirty instruments of Yahoo's stand-in, against asking one
	@$(BIN)/python -m benchmarks.yahoo

lock: $(INSTALLED) ## pin every dependency again, with hashes and without addresses
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-strip-extras --no-emit-index-url --no-annotate --no-header --quiet -o requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --extra dev --extra spark --universal --python-version 3.11 --generate-hashes \
	  --constraint requirements.lock --no-strip-extras --no-emit-index-url --no-annotate --no-header --quiet \
	  -o requirements-spark.lock
	@$(BIN)/uv pip compile dashboard/requirements.in --universal --python-version 3.11 --generate-hashes \
	  --no-strip-extras --no-emit-index-url --no-annotate --no-header --quiet -o dashboard/requirements.lock

spark-environment: $(VENV)/.spark ## install what the models need on Spark, beside what there is; needs Java 17

$(VENV)/.spark: requirements-spark.lock $(INSTALLED)
	@command -v java >/dev/null || \
	  { echo "There is no Java here; on Debian: apt-get install default-jre-headless"; exit 1; }
	@echo "Installing Spark into $(VENV) (about 0.5 GB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-spark.lock
	@touch $@

parity: $(MANIFEST) spark-environment ## build markets with DuckDB and with Spark and compare every cell
	@$(BIN)/python -m tests.parity

clean: ## remove environment, caches and dbt's target; data stays
	@rm -rf $(VENV) $(DASHBOARD) dbt_project/target dbt_project/logs .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
