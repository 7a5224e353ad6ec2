# Every task a person types. Each target does all of its own set-up: a virtual environment, the compiled core and, where
# they are missing, Debian packages. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo paper test test-minimum lint format unit rust-test wheel wheel-test docs bench dft clean

export PATH := $(PATH):$(HOME)/.cargo/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Work runs in processes, one thread each: threads inside of them would only be in each other's way.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

VENV := .venv
BENCH_VENV := .venv-bench
MINIMUM_VENV := .venv-minimum
PY := $(VENV)/bin/python
export PYO3_PYTHON := $(CURDIR)/$(PY)

RUST := $(shell find rust -name '*.rs' -o -name Cargo.toml) $(wildcard Cargo.toml Cargo.lock)
# Benches only have to compile here, which the profile of the tests does in a fraction of the time.
# ndsc-py is an extension module: it has no tests of its own in Rust, and linking one would need libpython.
CARGO_TESTED := --workspace --exclude ndsc-py

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.core ## silicon, from shipped density-functional labels to a benchmarked potential, into demo/
	@$(VENV)/bin/ndsc run examples/si-gpaw.toml --out demo

paper: $(VENV)/.core ## the paper's tables and figures from the shipped databases, into docs/paper.md
	@scripts/install-fitters.sh $(VENV)
	@$(VENV)/bin/ndsc study examples/paper/*.toml --out paper --page docs/paper.md --title "The paper's tables and figures"

test: lint rust-test wheel-test unit ## every check and every test

test-minimum: $(MINIMUM_VENV)/.lowest ## the unit tests with the lowest versions of all packages that pyproject.toml allows
	@$(MINIMUM_VENV)/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -W ignore::DeprecationWarning tests/unit $(ARGS)

lint: $(VENV)/.core ## formatting, clippy, ruff, mypy, stubs, documentation
	@scripts/check-rust.sh lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m mypy.stubtest ndsc._core
	$(PY) scripts/docs.py --check

format: $(VENV)/.core ## let rustfmt and ruff rewrite the sources
	@scripts/check-rust.sh lint
	cargo fmt --all
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

rust-test: $(VENV)/.core ## the tests of the compiled core; its benches compile
	cargo test --quiet $(CARGO_TESTED)
	cargo bench --quiet $(CARGO_TESTED) --no-run --profile dev

# Tests start hundreds of commands, and each would compile the modules where PYTHONDONTWRITEBYTECODE is set.
unit: $(VENV)/.core $(VENV)/.ace ## the Python tests, one file on each core at a time (ARGS=... goes to pytest)
	@$(PY) -m compileall -q python/ndsc
	@$(PY) -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

wheel: $(VENV)/.core ## an abi3 wheel in dist/
	@rm -f dist/*.whl
	$(VENV)/bin/maturin build --release --quiet --out dist

wheel-test: wheel ## the wheel installs and runs where there is no compiler
	@scripts/test-wheel.sh

docs: $(VENV)/.core ## write the generated parts of docs/ again, check all links, and build the site: site/index.html
	$(PY) scripts/docs.py
	$(PY) -m sphinx -W --keep-going -q -b html -c docs . site

bench: $(BENCH_VENV)/.core ## the benchmarks of benches/, beside their peers
	@for file in benches/[a-z]*.py; do echo "==> $$file"; $(BENCH_VENV)/bin/python "$$file"; done

dft: $(VENV)/.core ## install GPAW, ABINIT and Quantum ESPRESSO, for density-functional references
	@scripts/install-dft.sh $(VENV)

clean: ## remove everything that was built
	rm -rf $(VENV) $(BENCH_VENV) $(MINIMUM_VENV) target dist demo paper site python/ndsc/_core*.so
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.made $(BENCH_VENV)/.made $(MINIMUM_VENV)/.made: scripts/make-venv.sh scripts/lib.sh
	@scripts/make-venv.sh $(@D)
	@$(@D)/bin/python -m pip install --quiet 'maturin>=1.7,<2'
	@touch $@

# maturin installs the dependencies with the package, so one stamp stands for both.
$(VENV)/.core: EXTRAS := gap,docs,dev
$(BENCH_VENV)/.core: EXTRAS := bench
$(MINIMUM_VENV)/.core: EXTRAS := gap,dev
$(VENV)/.core: $(VENV)/.made
$(BENCH_VENV)/.core: $(BENCH_VENV)/.made
$(MINIMUM_VENV)/.core: $(MINIMUM_VENV)/.made
$(VENV)/.core $(BENCH_VENV)/.core $(MINIMUM_VENV)/.core: pyproject.toml $(RUST)
	@scripts/check-rust.sh
	@echo '==> the compiled core and the packages that ndsc needs, into $(@D) (a minute or two)' >&2
	@PIP_QUIET=1 VIRTUAL_ENV=$(CURDIR)/$(@D) $(@D)/bin/maturin develop --release --quiet --extras $(EXTRAS)
	@touch $@

# ace-jax is a wheel, with JAX 400 MB. Where it cannot be installed, the tests of ACE are skipped, and the next call tries again.
$(VENV)/.ace: $(VENV)/.core scripts/install-fitters.sh
	@if scripts/install-fitters.sh $(VENV) ace; then touch $@; else \
	  echo '==> ace-jax cannot be installed here: its tests are skipped' >&2; fi

# Packages that ours needs directly are taken at their lowest, all others at their newest.
$(MINIMUM_VENV)/.lowest: $(MINIMUM_VENV)/.core
	@$(@D)/bin/python -m pip install --quiet uv
	@$(@D)/bin/uv pip compile --quiet --extra gap --resolution lowest-direct --python $(@D)/bin/python -o $(@D)/lowest.txt pyproject.toml
	@$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python -r $(@D)/lowest.txt
	@touch $@
