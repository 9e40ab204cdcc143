# `make help` lists the targets. Everything a target needs is installed by it.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
INSTALLED := node_modules/.package-lock.json

.DEFAULT_GOAL := help

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  \033[1m%-17s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(INSTALLED): package.json package-lock.json $(wildcard apps/*/package.json packages/*/package.json tests/*/package.json)
	@echo "installing packages (about half a minute the first time)"
	@npm ci --no-audit --no-fund --loglevel=error
	@echo "preparing the embedded Postgres"
	@node packages/postgres/src/embedded-template.ts
	@touch $(INSTALLED)

.PHONY: install
install: $(INSTALLED) ## Install the packages, Node included

.PHONY: up
up: install ## Start everything in one process on embedded Postgres, until Ctrl-C
	@node apps/cli/src/main.ts up $(ARGS)

.PHONY: test
test: install test-servers example-packages check lint ## Types, lint and all tests of the default path
	@vitest run

.PHONY: test-chaos
test-chaos: install test-servers ## The long fault suite: kills, outages and lost stores under load; ends with a count
	@vitest run --config vitest.chaos.config.ts $(CHAOS)

.PHONY: test-attacks
test-attacks: install test-servers log-checker ## Hostile clients and upstreams on real sockets; logs before verifiers of others
	@vitest run --config vitest.attacks.config.ts $(ATTACKS)

.PHONY: test-compact
test-compact: install test-servers ## What the compact deployment adds: auth modes over TLS, MCP, budgets, several roles in one process
	@vitest run --config vitest.compact.config.ts $(COMPACT)

.PHONY: test-chart
test-chart: install ## The Helm chart: lint, renders, refusals, policies, schemas, alerts (builds Helm 3 and 4 the first time)
	@vitest run --config vitest.chart.config.ts $(CHART)

.PHONY: chart-golden
chart-golden: install ## Hold what the chart renders now; look at the difference before committing it
	@vitest run --config vitest.chart.config.ts tests/chart/golden.test.ts --update

.PHONY: test-servers
test-servers: ## Install the servers the tests run against (Debian as root; elsewhere it says what is missing)
	@tests/harness/install-servers.sh

.PHONY: log-checker
log-checker: ## Build the foreign verifier of logs that a test asks (installs Go where there is none, Debian as root)
	@tests/interop/build.sh >/dev/null

.PHONY: fuzz
fuzz: install ## Fire at the parsers: FUZZ_SECONDS=60 for each, FUZZ_TARGETS="policy form", FUZZ_SEED=n repeats
	@node tests/fuzz/fuzz.ts

.PHONY: example-packages
example-packages: examples/npm-registry/node_modules/.package-lock.json ## Install the registry that the npm example protects

examples/npm-registry/node_modules/.package-lock.json: examples/npm-registry/package-lock.json
	@echo "installing the registry of the npm example"
	@cd examples/npm-registry && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: image
image: ## Build the image of all roles with docker, podman or buildah: IMAGE=registry/caracal:tag, BASE=other base
	@infra/docker/build-image.sh

.PHONY: cluster
cluster: install ## Start a Kubernetes of one node for a person to try things on (Debian, root), and say how to reach it
	@node tests/cluster/main.ts start

.PHONY: cluster-stop
cluster-stop: install ## End it; nothing of it stays
	@node tests/cluster/main.ts stop

.PHONY: test-cluster
test-cluster: install ## Install, upgrade, break and remove the chart on a real Kubernetes (Debian, root; 40 minutes cold)
	@vitest run --config vitest.cluster.config.ts $(CLUSTER)

.PHONY: costs
costs: install test-servers ## Hold what a mint and a call cost now in bench/costs.json; say in the change why
	@COSTS=hold vitest run tests/costs

.PHONY: bench
bench: install bench-tools ## Measure: prints the table, writes bench/results.json; BENCH="--only headline --verbose" narrows it
	@node bench/run.ts $(BENCH)

.PHONY: bench-long
bench-long: install bench-tools ## The same with 10,000,000 stored events
	@node bench/run.ts --long $(BENCH)

.PHONY: bench-tools
bench-tools: test-servers ## Install what the benchmarks need: Postgres, Redis, HAProxy, wrk
	@bench/install-tools.sh

.PHONY: check
check: install ## Types
	@tsc --noEmit -p tsconfig.json

.PHONY: lint
lint: install ## Lint and format, as CI sees them
	@biome ci --diagnostic-level=error .

.PHONY: format
format: install ## Format and apply safe fixes
	@biome check --write .

.PHONY: reference
reference: install ## Make docs/reference from the code again
	@node docs/reference/generate.ts

.PHONY: chart
chart: install ## Make the generated files of the Helm chart again
	@node infra/helm/generate.ts

.PHONY: clean
clean: ## Remove packages and the embedded state
	@rm -rf node_modules .caracal
