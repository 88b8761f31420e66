# make demo     the lesson, run in a kernel and written to build/ as one HTML file
# make test     every test                      make check    lint, types, layers
# make lab      the lesson in JupyterLab        make browser  what the browser tests need
# make bench    the benchmarks, to their README make clean    all of this away again
# make compat   the tests under the oldest and newest releases of what we lean on
# make release  sdist and wheel in dist/, tried in an empty environment
# make guide    the guide and the gallery with their outputs, as pages in build/guide/
# make pictures the documents' pictures, taken anew of real outputs in JupyterLab
#
# Only Python 3.11 or newer and pip are needed: everything else goes into .venv.
# Variables:  PYTHON=python3.12   LESSON=ko   TENSORFLOW='tensorflow[and-cuda]'   ARGS='-k tape'

VENV := .venv
BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip -q --disable-pip-version-check

# A Python that TensorFlow has a build for comes first (below 3.14), then any newer one.
PYTHON ?= $(shell for below in 14 99; do \
	for each in python3 python3.13 python3.12 python3.11; do \
		$$each -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, $$below))" \
			2>/dev/null && echo $$each && exit; \
	done; done)

# The small CPU build exists for Linux on x86-64 only. What was chosen before stays chosen.
ifeq ($(shell uname -sm),Linux x86_64)
CPU_BUILD := -cpu
endif
TENSORFLOW ?= $(or $(shell cat $(VENV)/.tensorflow 2>/dev/null),tensorflow$(CPU_BUILD)>=2.16)

# The language of the lesson: that of the locale, where it is Korean.
JOBS ?= 2
LESSON ?= $(if $(filter ko%,$(firstword $(LC_ALL) $(LC_MESSAGES) $(LANG))),ko,en)

export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test lab check browser bench compat release pictures guide clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	@$(BIN)/python examples/demo.py $(LESSON)

test: $(VENV)/.develop
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lab: $(VENV)/.develop
	$(BIN)/jupyter lab examples/lesson.$(LESSON).ipynb

check: $(VENV)/.develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.develop
	$(BIN)/python -m benchmarks.report $(ARGS)

compat: $(VENV)/.develop
	$(BIN)/python tests/compat.py $(ARGS)

release: $(VENV)/.develop
	TENSORFLOW='$(TENSORFLOW)' $(BIN)/python tests/release.py

guide: $(VENV)/.demo
	$(BIN)/python -m docs.guide.pages $(ARGS)

pictures: $(VENV)/.develop
	$(BIN)/python -m docs.pictures $(ARGS)

browser:
	@sh tests/browser/install.sh

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the virtual environment -------------------------------------------------------------

# Where Python came without ensurepip (Debian without python3-venv), its own pip fills it.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer was found. Install one, or name it:" \
		"make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { $(PYTHON) -m venv --clear --without-pip $(VENV) \
		&& $(PYTHON) -m pip -q --python $(BIN)/python install pip; }

# Rewritten only when the choice changes, so that another TENSORFLOW= is installed anew.
$(VENV)/.tensorflow: FORCE | $(BIN)/python
	@echo '$(TENSORFLOW)' | cmp -s - $@ || { \
		test ! -e $@ || $(PIP) uninstall -y tensorflow tensorflow-cpu 2>/dev/null; \
		echo '$(TENSORFLOW)' >$@; }

$(VENV)/.demo: pyproject.toml $(VENV)/.tensorflow
	@echo "Installing tfmagic, $(TENSORFLOW) and a Jupyter kernel (some minutes, the first time)"
	@$(PIP) install -e '.[demo]' '$(TENSORFLOW)' && touch $@

$(VENV)/.develop: $(VENV)/.demo
	@echo "Installing JupyterLab, pytest and the linters"
	@$(PIP) install -e '.[test,check]' && touch $@

FORCE:
