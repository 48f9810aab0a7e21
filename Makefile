# Two commands: `make reproduce` for every number and figure, `make test` to check it all.

PROFILE  = quick
NOTEBOOK =
PYTHON   = python3

PROFILES    = $(basename $(notdir $(wildcard unlearnlib/lab/profiles/*.toml)))
OWN_FIGURES = $(addprefix figures/,$(filter-out laptop,$(PROFILES)))
VENV_PYTHON = .venv/bin/python

.DELETE_ON_ERROR:
.PHONY: help env reproduce test bench publish clean

help: ## show this list
	@echo 'make TARGET [PROFILE=quick] [NOTEBOOK=00_start_here] [PYTHON=python3]'
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' Makefile
	@echo 'profiles: $(PROFILES)'

env: .venv/.ready ## make the Python environment in .venv (the others do so when they need it)

reproduce: .venv/.ready ## run the notebooks, or the one in NOTEBOOK, at the size of PROFILE
	$(VENV_PYTHON) -m unlearnlib.lab.reproduce --profile '$(PROFILE)' --notebook '$(NOTEBOOK)'

# numpy's own threads: none, since they hold the cores that torch's, or the next test file's, need.
export OPENBLAS_NUM_THREADS = 1

# A cache of its own: results of tests and of yours never meet, and a second test run is quick.
test: export UNLEARNLIB_PROFILE = smoke
test: export UNLEARNLIB_CACHE = .cache/test
test: export UNLEARNLIB_FIGURES = .cache/test/figures
test: export UNLEARNLIB_DATA = .cache/test/data
test: export UNLEARNLIB_PROGRESS = 0
test: export UNLEARNLIB_WORKERS = 1
# Files run side by side; a thread that waits must sleep, or it holds the core the others need.
test: export OMP_WAIT_POLICY = PASSIVE
test: .venv/.ready ## run the tests, and every notebook at smoke size
	$(VENV_PYTHON) -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 \
	    --numprocesses=auto --maxprocesses=4 --dist=loadfile --durations=10 -p no:benchmark \
	    tests notebooks

# Alone on the machine, or the ratios mean nothing. Trained models come from the store.
bench: export UNLEARNLIB_PROFILE = laptop
bench: .venv/.ready ## time ours against the released code, curvlinops and retraining (20 minutes)
	$(VENV_PYTHON) -m pytest -o python_files='bench_*.py' --benchmark-json=.cache/bench.json \
	    -p no:xdist -W default::UserWarning tests/benchmarks
	$(VENV_PYTHON) -m unlearnlib.lab.benchmarks .cache/bench.json

publish: .venv/.ready ## after reproduce PROFILE=laptop: outputs into notebooks, claims into README
	$(VENV_PYTHON) -m unlearnlib.lab.publish

clean: ## remove results: .cache but for its data, and figures but for figures/laptop
	@if [ -d .cache ]; then find .cache -mindepth 1 -maxdepth 1 ! -name data -exec rm -rf {} +; fi
	rm -rf $(OWN_FIGURES)
	@echo 'kept: .venv, .cache/data, figures/laptop'

# --clear throws away what an interrupted installation left; only a finished one is ready.
.venv/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 10) or sys.exit( \
	    "Python 3.10 or newer is needed, $(PYTHON) is %d.%d: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv --clear .venv
	$(VENV_PYTHON) -m pip install --editable '.[notebooks,test]'
	@touch $@
