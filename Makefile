# Every target does its own set-up: the Python packages in .venv and, where the dataplane is
# needed, the system packages and huge pages. Run as often as you like.
#
#   make train           train a policy with the defaults (QUICK=1: a short run; RECIPE=ppo: with PPO)
#   make test            everything that CI holds
#   make lint            the parts of `make test` that run nothing
#   make docs            build the site in docs/_site, any warning being an error
#   make dataplane       build the DPDK dataplane
#   make bench           the benchmark programs (PROGRAM=deploy_latency: that one alone)
#   make reproduce       the paper's table and figures on the model and on DPDK, and what must hold live
#   make soak            the dataplane's long tests
#   make clean           remove what was built (never .venv, never runs/)
#
# ARGS='…' is handed on to the program that `train`, `bench` and `reproduce` run, or to pytest.

SHELL := /bin/bash
BIN := .venv/bin
RECIPE := exceedance
READY := .venv/.ready
DATAPLANE := hw_backend/dataplane
PROGRAM := $(basename $(notdir $(wildcard tests/benchmarks/[a-z]*.py)))

.PHONY: help train test lint docs dataplane bench reproduce soak clean
.NOTPARALLEL:

help:
	@sed -n 's/^#   //p' Makefile

$(READY): pyproject.toml constraints.txt
	@.ci/setup-python

train: $(READY)
	$(BIN)/python train/$(RECIPE).py $(if $(QUICK),--quick) $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict -p flexnfv
	$(BIN)/lint-imports
	.ci/lint-c

# Anew each time: what was read before is not read again, and its warnings would be lost.
docs: $(READY)
	$(BIN)/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet -c docs . docs/_site
	@echo "the site begins at docs/_site/docs/index.html"

dataplane: $(READY)
	@.ci/setup-dataplane
	@.ci/build-dataplane

test: $(READY)
	@.ci/test $(ARGS)

# As modules, so that they reach what they share with the tests. One that cannot run says so in a
# line and stops none after it.
bench: $(READY)
	@{ .ci/setup-dataplane && .ci/build-dataplane; } || [ -z "$$FLEXNFV_REQUIRE_DPDK" ]
	@failed=0; for program in $(PROGRAM); do \
	    echo "== $$program"; $(BIN)/python -m tests.benchmarks.$$program $(ARGS) || \
	        { [ $$? -ne 130 ] || exit 130; failed=1; }; \
	done; exit $$failed

# On the model alone, after one line that says why, where the dataplane cannot be built or run.
reproduce: $(READY)
	@{ .ci/setup-dataplane && .ci/build-dataplane; } || [ -z "$$FLEXNFV_REQUIRE_DPDK" ]
	@.ci/reproduce $(ARGS)

soak: dataplane
	$(BIN)/python -m pytest -m soak --timeout 0 $(ARGS)

clean:
	rm -rf build dist *.egg-info docs/_site $(DATAPLANE)/build
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -exec rm -rf {} +
