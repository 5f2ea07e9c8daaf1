# make run   starts the balancer on an embedded demonstration
# make test  runs everything
# make wheel-compiled   builds dist/*.whl with the data path compiled (docs/compiled.md); needs a C compiler
# make compiled         installs that wheel in an environment of its own, .venv-compiled
# Each makes its own virtual environment (.venv) and installs what it needs; PYTHON names another interpreter (3.11 or later).

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
ARGS ?=
WHEELS ?= dist

.PHONY: run test lint types docs bench wheel-compiled compiled clean

run: $(VENV)/run.stamp
	$(VENV)/bin/twistd --nodaemon --pidfile= balancer --demo $(ARGS)

test: $(VENV)/test.stamp
	$(VENV)/bin/python -m pytest $(ARGS)

lint: $(VENV)/lint.stamp
	$(VENV)/bin/ruff check balancer benchmarks tests twisted/plugins etc setup.py
	$(VENV)/bin/ruff format --check balancer benchmarks tests twisted/plugins etc setup.py

types: $(VENV)/lint.stamp
	$(VENV)/bin/mypy

docs: $(VENV)/run.stamp
	$(VENV)/bin/python -m balancer.config.reference

bench: $(VENV)/run.stamp
	$(VENV)/bin/python benchmarks/run.py $(ARGS)

wheel-compiled: $(VENV)/bin/python
	rm -rf build # or what was there the last time gets into the wheel
	BALANCER_COMPILE=1 $(VENV)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(WHEELS) .

compiled: wheel-compiled
	$(VENV)/bin/python -m venv --clear $(VENV)-compiled
	$(VENV)-compiled/bin/python -m pip install --quiet --disable-pip-version-check "$$(ls -t $(WHEELS)/*-cp*.whl | head -1)[fast]"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; name one with: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "this Python cannot make virtual environments; on Debian: apt-get install python3.11-venv"; exit 1; }

$(VENV)/run.stamp: $(VENV)/bin/python setup.cfg pyproject.toml
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[fast]'
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[fast,test]'
	@touch $@

$(VENV)/lint.stamp: $(VENV)/run.stamp
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[fast,test,lint]'
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-compiled build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
