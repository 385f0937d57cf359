PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
STAMP := $(VENV)/.installed

.PHONY: venv demo test test-neighbours lint docs release-check bench cold derive references clean

venv: $(STAMP)

$(CORE): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing infflow and what it needs into $(VENV)"
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e .
	touch $(CORE)

$(STAMP): $(CORE)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $(STAMP)

demo: $(CORE)  ## the paper's figure 4: finite against infinite data
	$(BIN)/infflow converge --out out/demo

test: venv
	$(BIN)/python -m pytest -n auto

test-neighbours: venv  ## the tests that need JAX or PyTorch, which this installs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt jax optax torch
	$(BIN)/python -m pytest tests/test_autodiff.py tests/test_interop.py tests/test_own_step.py tests/test_what_people_pass.py

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

docs: venv  ## the site, docs/_build/html; every warning, long sentence, lonely page and external resource is an error
	rm -rf docs/_build docs/_api
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -q -W --keep-going -E -j auto -b html docs docs/_build/html
	$(BIN)/python scripts/check_pages.py --site docs/_build/html

release-check: venv  ## build wheel and sdist; install the wheel in an empty environment and run the README's example there
	$(BIN)/python scripts/release_check.py

derive: venv  ## derive the closed forms anew with sympy and write infflow/integrals/closed/_generated.py
	$(BIN)/python -m infflow.integrals.closed.symbolic

references: venv  ## make the 30-digit reference values of the tests anew with mpmath (some minutes)
	$(BIN)/python scripts/make_references.py
	$(BIN)/python scripts/make_integral_references.py

bench: venv  ## compare with torch and jax on one thread and write docs/benchmarks/
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks

cold: venv  ## what the first use costs: wall times and compiled functions in an empty kernel cache
	$(BIN)/python scripts/cold.py

clean:
	rm -rf $(VENV) out build dist docs/_build docs/_api
