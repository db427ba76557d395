# `make help` lists every target.
SHELL := /bin/bash
# the first of these that runs and is of a fitting version
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && { command -v $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PROTOS := $(shell find proto -name '*.proto' | sort)
PYTEST_FLAGS ?=
# what starts many times at once, in `rapport up` and in the tests: compiled at set-up once and not by each
STARTED := hypothesis.stateful, pytest, xdist, services.channel.main, services.cli.importing.command, services.cli.stack.up, services.decision.main, services.profile.main
# for fuzz
EXAMPLES ?= 20000
PROCESSES ?= 2
# for soak, and fuzz (which draws one of its own unless told)
MINUTES ?= 10
SEED ?= 1
CASE ?= kills
ATTEMPTS ?= 1000000

.DEFAULT_GOAL := help
.PHONY: help setup demo up down test check fmt fmt-check lint type layers proto proto-lint proto-check k8s-check k8s-rules language images fuzz bench soak lock clean

help: ## list every target
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## create .venv with the locked dependencies

$(VENV)/.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Rapport needs Python 3.11 or 3.12; none was found. Say make PYTHON=/path/to/python3.12"; exit 1; }
	@test -x $(BIN)/python || { echo "setting up .venv with $(PYTHON)"; "$(PYTHON)" -m venv $(VENV); }
	@echo "installing the locked dependencies (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@printf '%s\n%s\n' '$(CURDIR)' '$(CURDIR)/proto' > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/rapport_roots.pth"
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c 'import $(STARTED)'
	@touch $@

demo: setup ## start everything, run the small town through it, explain, reconcile
	$(BIN)/rapport demo

up: setup ## start PostgreSQL, NATS, the three services and the demo's providers, and leave them running
	$(BIN)/rapport up

down: setup ## stop what `make up` started
	$(BIN)/rapport down

test: setup ## run every test
	@$(BIN)/python -m tests.compiled
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

check: setup fmt-check lint type layers proto-lint proto-check k8s-check test ## exactly what CI runs

fmt: setup ## format and mend what can be mended
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

fmt-check: setup ## formatted?
	$(BIN)/ruff format --check .

lint: setup ## ruff, every rule but those excluded with a reason
	$(BIN)/ruff check .

type: setup ## mypy, strict
	$(BIN)/mypy

layers: setup ## which part may import which
	$(BIN)/lint-imports

proto: setup ## generate the stubs
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I proto --python_out=proto --grpc_python_out=proto --mypy_out=quiet:proto --mypy_grpc_out=quiet:proto $(PROTOS)

proto-lint: setup ## buf lint; buf breaking against main where there is one
	$(BIN)/buf lint proto
	@if git rev-parse --verify --quiet origin/main >/dev/null; then $(BIN)/buf breaking proto --against '.git#ref=refs/remotes/origin/main,subdir=proto'; fi

proto-check: setup ## stubs in step with the protos?
	@d=$$(mktemp -d) && trap 'rm -rf "$$d"' EXIT && \
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I proto --python_out="$$d" --grpc_python_out="$$d" --mypy_out=quiet:"$$d" --mypy_grpc_out=quiet:"$$d" $(PROTOS) && \
	(cd "$$d" && find . -type f) | while read -r f; do cmp -s "$$d/$$f" "proto/$$f" || { echo "out of step: proto/$$f (run make proto)"; exit 1; }; done

k8s-check: setup ## render what runs on Kubernetes, validate it, check what no schema can
	$(BIN)/python -m k8s.check

k8s-rules: setup ## list the rules folder anew for the pods
	$(BIN)/python -m k8s.check.rules

language: setup ## write anew what the reference of the rule language and its schema take from the code
	$(BIN)/python -m services.cli.reference

images: setup ## build the image of all services (TAG, BASE, BUILD_BASE, WHEELS)
	$(BIN)/python -m k8s.images $(if $(TAG),--tag $(TAG)) $(if $(BASE),--base $(BASE)) $(if $(BUILD_BASE),--build-base $(BUILD_BASE)) $(if $(WHEELS),--wheels $(WHEELS))

soak: setup ## break everything at random for MINUTES from SEED on, and give an account (CASE: kills, stalls, cuts, caps, machines)
ifeq ($(CASE),caps)
	$(BIN)/python -m tests.system.soak_caps --attempts $(ATTEMPTS) --seed $(SEED)
else ifeq ($(CASE),machines)
	$(BIN)/python -m pytest -n 2 --timeout 0 --hypothesis-profile soak tests/behaviours/test_machine_of_caps.py tests/behaviours/test_machine_of_requests.py tests/behaviours/test_machine_of_customers.py
else
	$(BIN)/python -m tests.system.soak --case $(CASE) --minutes $(MINUTES) --seed $(SEED)
endif

fuzz: setup ## generated rule sets on generated customers: engine = oracle = CLIPS (EXAMPLES, SEED, PROCESSES)
	$(BIN)/python -m tests.fuzz --examples $(EXAMPLES) --processes $(PROCESSES) $(if $(filter command line environment,$(origin SEED)),--seed $(SEED))

bench: setup $(VENV)/.bench ## measure, beside references in the same run
	$(BIN)/python -m bench.engine
	$(BIN)/python -m bench.channel
	$(BIN)/python -m bench.profile
	$(BIN)/python -m bench.road
	$(BIN)/python -m bench.decide
	$(BIN)/python -m bench.verify

$(VENV)/.bench: requirements-bench.lock $(VENV)/.ready
	@echo "installing the rule engines to measure beside"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

lock: ## resolve requirements.lock anew (needs uv)
	uv pip compile --quiet pyproject.toml --extra local --extra dev --universal --python-version 3.11 --generate-hashes --no-header -o requirements.lock
	uv pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --constraint requirements.lock -o requirements-image.lock
	uv pip compile --quiet pyproject.toml --extra bench --universal --python-version 3.11 --generate-hashes --no-header --constraint requirements.lock -o requirements-bench.lock

clean: ## remove what can be made again (not var/)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
