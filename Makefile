# `make` alone lists the targets. ARGS="…" is passed on to what a target runs.
.DEFAULT_GOAL := help
.PHONY: help verify test lint format mutants agreement bench benchmarks benchmarks-mesh kill docs docs-check fresh-machine hooks venv lock clean
ARGS ?=
# Debian keeps nft in /usr/sbin, which is not on everyone's PATH.
export PATH := $(PATH):/usr/sbin:/sbin
BIN := .venv/bin

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

verify: ## prove that the rules hold: every suite, real traffic, in the embedded lab
	@tools/bootstrap run
	@$(BIN)/eastwest verify $(ARGS)

test: ## prove that the harness works: lint, types, import layers, its own tests
	@tools/bootstrap test
	@$(BIN)/python -m tools.check $(ARGS)

lint: ## ruff, mypy and the import layers only
	@tools/bootstrap --no-lab test
	@$(BIN)/python -m tools.check --lint

format: ## rewrite the code as ruff wants it
	@tools/bootstrap --no-lab test
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

mutants: ## break the lab's data plane in every known way; each must be caught (ARGS=mesh, calico, network or names)
	@tools/bootstrap test
	@$(BIN)/python -m tools.mutants $(ARGS)

agreement: ## 2,000 random sets of policies and pods: the lab's data plane against the oracle (ARGS=--mutants)
	@tools/bootstrap test
	@$(BIN)/python -m tools.agreement $(ARGS)

bench: ## the suites on a real cluster: needs Docker, kind, kubectl
	@tools/bootstrap run kind
	@$(BIN)/eastwest verify --profile kind-calico $(ARGS)

benchmarks: ## measure start, matrix and suite times; prints JSON
	@tools/bootstrap run
	@$(BIN)/python -m benchmarks.run $(ARGS)

benchmarks-mesh: ## measure first verdict, a pod, a policy change and memory of a mesh; prints JSON
	@tools/bootstrap run
	@$(BIN)/python -m benchmarks.mesh $(ARGS)

kill: ## kill the harness and the lab at random moments; nothing may stay behind
	@tools/bootstrap test
	@$(BIN)/python -m benchmarks.kill $(ARGS)

docs-check: ## links, commands and names in the documentation are true
	@tools/bootstrap --no-lab test
	@$(BIN)/python -m pytest tests/frame -q -p no:cacheprovider $(ARGS)

docs: ## write the reference pages that are made from code
	@tools/bootstrap --no-lab test
	@$(BIN)/python -m tools.reference

fresh-machine: ## both commands on a new Debian, as root and as an ordinary user (root only)
	@tools/fresh-machine $(ARGS)

hooks: ## check every commit as CI does
	@tools/bootstrap --no-lab test
	@$(BIN)/pre-commit install

venv: ## only .venv, for clusters other than the lab
	@tools/bootstrap --no-lab run $(ARGS)

lock: ## write the lock files anew; ARGS=--upgrade moves to the newest releases
	@tools/lock $(ARGS)

clean: ## remove what was generated, .venv included
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build reports/out eastwest.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
