# Two commands: `make reproduce` for every number and figure, `make test` to check it all.

PROFILE  = quick
NOTEBOOK =
ONLY     =
PYTHON   = python3

PROFILES    = $(basename $(notdir $(wildcard unlearnlib/lab/sizes/*.toml)))
OWN_FIGURES = $(addprefix figures/,$(filter-out laptop,$(PROFILES)))
VENV_PYTHON = .venv/bin/python

.DELETE_ON_ERROR:
.PHONY: help env lab reproduce figures test test-lowest test-people mutants bench publish \
    documents coursework site clean

help: ## show this list
	@echo 'make TARGET [PROFILE=quick] [NOTEBOOK=00_start_here] [PYTHON=python3]'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' Makefile
	@echo 'profiles: $(PROFILES)'

env: .venv/.ready ## make the Python environment in .venv (the others do so when they need it)

lab: .venv/.ready ## open JupyterLab on the first notebook
	$(VENV_PYTHON) -m jupyterlab notebooks/00_start_here.ipynb

reproduce: .venv/.ready ## run the notebooks, or the one in NOTEBOOK, at the size of PROFILE
	$(VENV_PYTHON) -m unlearnlib.lab.reproduce --profile '$(PROFILE)' --notebook '$(NOTEBOOK)'

figures: .venv/.ready ## draw every figure of PROFILE again, from its results alone (a minute)
	$(VENV_PYTHON) -m unlearnlib.lab.redraw --profile '$(PROFILE)' --notebook '$(NOTEBOOK)'

# numpy's own threads: none, since they hold the cores that torch's, or the next test file's, need.
export OPENBLAS_NUM_THREADS = 1

# A cache of its own: results of tests and of yours never meet, and a second test run is quick.
test test-lowest test-people: export UNLEARNLIB_PROFILE = smoke
test test-lowest test-people: export UNLEARNLIB_CACHE = .cache/$@
test test-lowest test-people: export UNLEARNLIB_FIGURES = .cache/$@/figures
test test-lowest test-people: export UNLEARNLIB_DATA = .cache/$@/data
test test-lowest test-people: export UNLEARNLIB_PROGRESS = 0
test test-lowest test-people: export UNLEARNLIB_WORKERS = 1
# Files run side by side: a second thread would hold the core that another file needs. Where two
# threads meet inside a convolution, the first keeps its core until the other has had one.
test test-lowest test-people: export OMP_NUM_THREADS = 1
test test-lowest test-people: export UNLEARNLIB_THREADS = 1
test test-lowest test-people: export OMP_WAIT_POLICY = PASSIVE
# Notebooks first: a long one at the end would keep one core while the others wait.
SIDE_BY_SIDE = --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder \
    --durations=10 -p no:benchmark
PYTEST = -m pytest --nbval-lax --nbval-current-env --nbval-cell-timeout=300 $(SIDE_BY_SIDE) \
    notebooks tests
test: .venv/.ready ## run the tests, and every notebook at smoke size
	$(VENV_PYTHON) $(PYTEST)
test-lowest: .venv-lowest/.ready ## the same on the lowest versions that pyproject.toml allows
	.venv-lowest/bin/python $(PYTEST)

test-people: .venv/.ready ## run what needs a grader or a browser: coursework, solutions, the site (6 minutes)
	$(VENV_PYTHON) -m pytest $(SIDE_BY_SIDE) tests/people

mutants: .venv/.ready ## put errors into the code, or into file ONLY: does a test notice? (25 minutes)
	$(VENV_PYTHON) tests/mutants.py --only '$(ONLY)'

# Alone on the machine, or the ratios mean nothing. Trained models come from the store.
bench: export UNLEARNLIB_PROFILE = laptop
bench: .venv/.ready ## time ours against the released code, curvlinops and retraining (20 minutes)
	$(VENV_PYTHON) -m pytest -o python_files='bench_*.py' --benchmark-json=.cache/bench.json \
	    -p no:xdist -W default::UserWarning tests/benchmarks
	cd notebooks && ../$(VENV_PYTHON) -m studies.benchmarks.rows ../.cache/bench.json

publish: .venv/.ready ## after reproduce PROFILE=laptop: outputs into notebooks, tables into documents
	$(VENV_PYTHON) -m unlearnlib.lab.publish --notebook '$(NOTEBOOK)'

documents: .venv/.ready ## write the tables of README and figures/README from the committed results
	$(VENV_PYTHON) -m unlearnlib.lab.publish --documents

coursework: .venv/.ready ## write the student copies of the assignments into coursework/student
	cd notebooks && ../$(VENV_PYTHON) -m coursework.course ../coursework

site: .venv/.ready ## make pages of it all, to be read without installing anything, in site/html
	$(VENV_PYTHON) -m sphinx -W --keep-going -q -c site -d .cache/site . site/html
	@echo 'all is made: open site/html/index.html'

clean: ## remove results: .cache but for its data, figures but for figures/laptop, and the site
	@if [ -d .cache ]; then find .cache -mindepth 1 -maxdepth 1 ! -name data -exec rm -rf {} +; fi
	rm -rf $(OWN_FIGURES) site/html site/jupyter_execute
	@echo 'kept: .venv, .cache/data, figures/laptop'

# --clear throws away what an interrupted installation left; only a finished one is ready.
.venv/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 10) or sys.exit( \
	    "Python 3.10 or newer is needed, $(PYTHON) is %d.%d: make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv --clear .venv
	$(VENV_PYTHON) -m pip install --editable '.[notebooks,site,test]'
	@touch $@

# Lowest of what we ask for ourselves, with what those ask for. uv can tell the two apart; pip can't.
.venv-lowest/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 12) or sys.exit( \
	    "The lowest versions are for Python 3.10 to 3.12, $(PYTHON) is %d.%d: make test-lowest \
	PYTHON=python3.12" % v)'
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install uv
	.venv-lowest/bin/python -m uv pip install --python .venv-lowest/bin/python \
	    --resolution lowest-direct --editable '.[notebooks,site,test]'
	@touch $@
