# Each target works alone, from a machine that has only python3, git and make. A second call is quick.
# PYTHON=python3.12 chooses the interpreter, TORCH_INDEX=https://... the package index for torch.

VENV := .venv
BIN := $(VENV)/bin
GPU_WHEELS := nibabel pywavelets isal nilearn
SETTINGS := pyproject.toml constraints.txt napari.yaml tools/environment.sh
# Each test file stays in one process. Each process computes on one core. One that crashes is not replaced:
# with loadfile, pytest-xdist would then wait for ever.
PARALLEL := -n 2 --dist loadfile --max-worker-restart 0
# A real window needs xcb under an X server: Qt's offscreen platform has no OpenGL.
SCREEN := $(if $(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin,$(shell uname -s)),,xvfb-run -a -s "-screen 0 1600x1000x24")

.DEFAULT_GOAL := help
.PHONY: help demo test bench slow fuzz kills stops cancels closings slurm atheris mutants faults notebook docs gpu-pack sbom audit licences coverage lint types format build clean

help: ## what there is to make
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

demo: $(VENV)/.installed ## a real brain, its pseudo-3T and its synthetic 7T, into demo/ and on the screen
	@sh tools/system.sh || echo "Going on: the files need none of these packages, napari's window does."
	$(BIN)/mri7t demo --output demo

test: $(VENV)/.installed ## the whole suite, under Xvfb where there is no display; TESTS=... for a part
	@sh tools/system.sh
	OMP_NUM_THREADS=1 $(SCREEN) $(BIN)/python -m pytest -m "not slow" $(PARALLEL) $(TESTS)

slow: $(VENV)/.installed ## what takes minutes: 10,000 spoilt files, killed trainings, a sample of mutants
	@sh tools/system.sh
	$(SCREEN) $(BIN)/python -m pytest -m slow $(TESTS)
	$(if $(TESTS),,$(MAKE) --no-print-directory mutants OPTIONS='--sample 3')

fuzz: $(VENV)/.installed ## 10,000 spoilt files through the reader
	$(BIN)/python -m pytest -m slow tests/engine/volumes/files/test_fuzz.py

kills: $(VENV)/.installed ## 50 kills of a training; its weights equal those of one left alone
	MRI7T_KILLS=50 $(BIN)/python -m pytest -m slow tests/engine/training/test_kills.py --timeout 3600 -s

stops: $(VENV)/.installed ## `mri7t reproduce` on DATASET=... killed ten times ends with the tables of one left alone; OPTIONS=...
	$(BIN)/python tools/stops.py $(DATASET) .stops $(OPTIONS)

cancels: $(VENV)/.installed ## 100 cancels of a synthesis and 100 in a viewer at random moments, each within 2 seconds
	@sh tools/system.sh
	MRI7T_CANCELS=100 $(SCREEN) $(BIN)/python -m pytest -m slow tests/engine/synthesis/test_cancels.py tests/widgets/test_cancels.py -s

closings: $(VENV)/.installed ## 50 viewers closed at random moments of a job: no thread, whole files only
	@sh tools/system.sh
	MRI7T_CLOSINGS=50 $(SCREEN) $(BIN)/python -m pytest -m slow tests/widgets/test_closings.py -s

slurm: $(VENV)/.installed ## a SLURM of one node on this machine, two folds as its jobs, one killed; Debian, as root
	sh tools/slurm.sh start .slurm
	$(BIN)/python -m pytest -m slow tests/engine/workflows/test_tasks.py -k slurm; \
	ended=$$?; sh tools/slurm.sh stop .slurm; exit $$ended

atheris: $(VENV)/.installed $(VENV)-atheris/.installed ## an hour of the coverage-guided fuzzer on the reader, into .atheris/; Linux
	$(VENV)-atheris/bin/python tests/fuzz/atheris_reader.py .atheris -max_total_time=3600 -timeout=20 -rss_limit_mb=2048

# It sees what is in the first environment, and leaves that one as it is.
$(VENV)-atheris/.installed: tools/atheris-requirements.txt
	$(if $(PYTHON),$(PYTHON),python3) -m venv $(VENV)-atheris
	$(VENV)-atheris/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	sites='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	$(BIN)/python -c "$$sites" > "$$($(VENV)-atheris/bin/python -c "$$sites")/mri7t.pth"; \
	pwd >> "$$($(VENV)-atheris/bin/python -c "$$sites")/mri7t.pth"
	@touch $@

mutants: $(VENV)/.installed $(VENV)-mutants/.installed ## small changes to the code that no test notices, into .mutants/; MODULES=atomic, OPTIONS='--sample 3'
	$(VENV)-mutants/bin/python tools/mutants.py $(MODULES) $(OPTIONS)

# It too sees what is in the first environment.
$(VENV)-mutants/.installed: tools/mutants-requirements.txt
	$(if $(PYTHON),$(PYTHON),python3) -m venv $(VENV)-mutants
	$(VENV)-mutants/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	sites='import sysconfig; print(sysconfig.get_path("purelib"))'; \
	$(BIN)/python -c "$$sites" > "$$($(VENV)-mutants/bin/python -c "$$sites")/mri7t.pth"
	@touch $@

bench: $(VENV)/.installed $(VENV)-bench/.installed ## speed and memory side by side with Keras, MONAI and non-local means; VOLUME=... for a scan
	test -n "$(VOLUME)" || test -e demo/source.nii.gz || $(BIN)/mri7t demo --no-gui --output demo
	$(BIN)/python benchmarks/synthesis_speed.py $(or $(VOLUME),demo/source.nii.gz)
	$(BIN)/python benchmarks/speed.py $(or $(VOLUME),demo/source.nii.gz) --peers $(VENV)-bench
	$(BIN)/python benchmarks/memory.py $(or $(VOLUME),demo/source.nii.gz)

# For benchmarks/gpu.sh: what a machine with torch, SciPy, scikit-image and pytest still lacks.
gpu-pack: $(VENV)/.installed ## wheels and DATASET=... into .gpu/, for a machine with a GPU and no network
	test -d "$(DATASET)" || { echo "make gpu-pack DATASET=FOLDER"; exit 2; }
	mkdir -p .gpu/wheels .gpu/data
	cp "$(DATASET)"/*.nii.gz .gpu/data/
	$(BIN)/python -m pip download -q --no-deps --only-binary :all: --python-version 3.12 -d .gpu/wheels $(GPU_WHEELS) -c constraints.txt \
		$(foreach n,28 27 17,--platform manylinux_2_$(n)_x86_64) --platform manylinux2014_x86_64
	du -sh .gpu

# MONAI runs on the first environment's torch and network, from a folder of its own.
$(VENV)-bench/.installed: benchmarks/requirements.txt
	$(if $(PYTHON),$(PYTHON),python3) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(VENV)-bench/monai monai==1.6.1
	@touch $@

faults: $(VENV)/.installed ## docs/faults.md from the names of the tests
	$(BIN)/python tools/fault_table.py

notebook: $(VENV)/.installed ## docs/tutorial/python.ipynb from the page python.md
	$(BIN)/python tools/notebook.py

docs: $(VENV)/.installed-docs ## the site into site/, every warning an error: open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

licences: $(VENV)/.installed ## licences of all that an installation brings, against the list of those allowed
	$(BIN)/python tools/licences.py all

sbom: $(VENV)/.installed $(VENV)-audit/.installed ## what is in the virtual environment, as CycloneDX: dist/sbom.json
	@mkdir -p dist
	$(VENV)-audit/bin/cyclonedx-py environment $(BIN)/python --pyproject pyproject.toml --output-reproducible -o dist/sbom.json
	@echo dist/sbom.json

audit: $(VENV)-audit/.installed ## known vulnerabilities in constraints.txt; fails where PyPI's data cannot be reached
	$(VENV)-audit/bin/pip-audit --strict --disable-pip --no-deps -r constraints.txt

# An environment of its own: the one that is looked at stays as it is.
$(VENV)-audit/.installed: tools/audit-requirements.txt
	$(if $(PYTHON),$(PYTHON),python3) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

coverage: $(VENV)/.installed ## the suite with the branch coverage of the engine
	@sh tools/system.sh
	$(SCREEN) $(BIN)/python -m pytest --cov --cov-report=term

lint: $(VENV)/.installed-dev ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev ## mypy
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(VENV)/.installed-dev ## wheel and sdist into dist/
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

clean: ## remove what the other targets made, the virtual environment included
	rm -rf $(VENV) $(VENV)-audit $(VENV)-bench $(VENV)-atheris $(VENV)-mutants .atheris .mutants .stops dist demo site .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage

$(VENV)/.installed: $(SETTINGS)
	sh tools/environment.sh $(VENV) all,test
	@touch $@

$(VENV)/.installed-dev: $(SETTINGS)
	sh tools/environment.sh $(VENV) dev
	@touch $(VENV)/.installed $@

$(VENV)/.installed-docs: $(SETTINGS)
	sh tools/environment.sh $(VENV) docs
	@touch $@
