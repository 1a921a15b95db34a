# Needs Python 3.11 or newer, make and git; the rest is set up in .venv, with the versions in requirements.lock.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.requirements-are-installed
JOBS ?= 2

.PHONY: report test coverage lint setup envs docs

report: $(READY)  ## compute what is stale and render the reports of config/config.yaml, or of SCENARIO=name
	$(BIN)/snakemake --cores all $(if $(SCENARIO),--config scenarios=$(SCENARIO))
	@echo && echo "Reports:" && ls $(CURDIR)/reports/*/ozet_rapor.html

# A processor with AVX-512 plays one without: kernels differ, and those of one kind have crashed where the others did not.
LESSER := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 DNNL_MAX_CPU_ISA=AVX2
TRAINING := tests/test_training.py tests/test_optimisation.py tests/test_stages_training.py tests/test_fusion.py \
  tests/test_calibration.py tests/workflow/test_workflow.py

# Threads that wait for one another leave the core to other tests: three times as fast where both cores are busy.
ALONE := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

test: $(READY)  ## the fast tests, some minutes; the others: .venv/bin/python -m pytest -m long
	$(ALONE) $(BIN)/python -m pytest -n $(JOBS) --durations 30 --durations-min 5
	$(ALONE) $(LESSER) $(BIN)/python -m pytest -n $(JOBS) $(TRAINING)

coverage: $(READY)  ## lines of the library that the fast tests run, or TESTS=tests/test_files.py; stages count, too
	mkdir -p .cache/coverage
	$(ALONE) $(BIN)/python -m pytest -n $(JOBS) --cov $(TESTS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/mypy
	$(BIN)/codespell

setup: $(READY)

envs: $(READY)  ## write envs/*.yaml anew from requirements.lock
	$(BIN)/python workflow/scripts/conda_environments.py

docs: $(READY)  ## write config/README.md anew from the schemas, and the methods' names for editors
	$(BIN)/python workflow/scripts/config_readme.py

# uv installs the rest; its own pin, with its hashes, is in the lock too. Bytecode is compiled here, once, and not by
# the first jobs at the same time: those would take almost twice as long.
$(READY): requirements.lock
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed; PYTHON=... names one')"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	sed -n '/^uv==/,/^    #/p' requirements.lock > .venv/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r .venv/uv.txt
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	touch $@
