.DEFAULT_GOAL := help
.PHONY: help setup run demo team-demo tutorial test drills coverage mutants portability check studies independent bench first-hour ui lock clean

# The first interpreter on the path that the locked packages support.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
PORT ?= 5000
# Rooms without side effects: their own tests must cover them.
COVERED := comparison designs evaluation examples reporting runs studies training
COVERAGE := $(COVERED:%=--cov=pipeline.%) --cov-report=
# Three, for two processors: one often waits, for a browser, a server or a lock.
SIDE_BY_SIDE := --numprocesses 3 --dist loadfile --no-loadscope-reorder
READY := .venv/.ready
PEERS_READY := benchmarks/.venv/.ready
# DVC's stages call `python`, which has to be the one in .venv.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# With it, Python would not look for `pipeline`, `tests` or `benchmarks` in this folder.
unexport PYTHONSAFEPATH
# The same for DVC's stages, and whoever calls them by hand. What is installed still comes first.
FIND_PIPELINE := import sys; sys.flags.safe_path and "pipeline" in sys.orig_argv and sys.path.append("")

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv with the locked packages; does nothing the second time

$(READY): requirements.lock
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found; name one: make PYTHON=..."; exit 69; }
	@# A link points to another checkout's environment, which must not be replaced from here.
	@test ! -L .venv || { echo "error: .venv is a link; remove it, then make setup"; exit 73; }
	$(PYTHON) -m venv --clear .venv
	@# uv is locked in the same file, and installs the rest several times faster than pip.
	sed -n '/^uv==/,/# via/p' requirements.lock > .venv/uv.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
	@# Without bytecode TensorFlow takes three times as long to import.
	uv pip sync --quiet --python .venv --require-hashes --compile-bytecode requirements.lock
	@echo '$(FIND_PIPELINE)' > "$$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/find_pipeline.pth"
	@touch $@

run: setup  ## download MNIST, train, compare and track; then print the answer
	@python -m pipeline params > /dev/null
	dvc repro
	@sed -n '1,3{s/^# //;s/\*\*//g;p;}' reports/report.md
	@printf '\n%s\n' "Open reports/report.html in a browser; make ui shows the runs."

demo: setup  ## run the pipeline on 1,797 digits that need no download, in a folder of its own
	@python -m pipeline demo

team-demo: setup  ## PostgreSQL, S3, MLflow's server and two nodes of Ray, all on this machine; a node is killed, and the bytes compared
	@PYTHONPATH=. python examples/team/demo.py

tutorial: setup  ## run the tutorial's notebook and rewrite docs/tutorial.md
	@test -d runs || { echo "error: there are no runs yet; make run first"; exit 66; }
	python -m notebooks.export

test: setup  ## run the tests that are quick; ALL=1 runs those marked slow too, REST=1 leaves out what coverage runs
	pytest -m "not drill$(if $(ALL),, and not slow)" $(SIDE_BY_SIDE) $(if $(REST),$(COVERED:%=--ignore=tests/%))

drills: setup  ## break things on purpose, and write the results to docs/RELIABILITY.md (ONLY=file runs a part)
	pytest -m "" $(or $(ONLY),tests/faults tests/test_remotes.py) --page docs/RELIABILITY.md

coverage: setup  ## run the tests of the rooms without side effects, and measure how far they cover these
	pytest $(SIDE_BY_SIDE) $(COVERAGE) $(COVERED:%=tests/%)

mutants: setup  ## change an operator or number at a time, and list what no test notices (ROOMS="training runs"; ALL=1 tests all, not a sample)
	@python -m tests.mutants $(if $(ALL),--all) $(ROOMS)

portability: setup  ## train on emulated processors and caches, and write what came out to docs/PORTABILITY.md
	@python -m tests.portability

check: setup  ## check lint, types, import layers and spelling
	ruff check
	ruff format --check
	pyrefly check --summary=none
	lint-imports --no-logo
	git ls-files -z ':!reports' ':!*requirements.lock' | xargs -0 codespell

first-hour: setup  ## walk the first hour in a clone, and write docs/first-hour.md with its pictures
	@python -m tests.first_hour

studies: setup  ## put published claims to the test; the gallery is studies/README.md
	dvc repro studies/dvc.yaml

independent: setup  ## check six studies against plain NumPy and an example against Keras, and write the results to studies/INDEPENDENT.md
	pytest -m "" tests/independent --page studies/INDEPENDENT.md

bench: setup  ## measure its speed against peers; half an hour, and 3 GB of packages the first time
	@$(MAKE) --no-print-directory $(PEERS_READY)
	dvc repro prepare
	@python -m benchmarks

# The peers have an environment of their own, independent of .venv.
$(PEERS_READY): benchmarks/requirements.lock
	uv venv --quiet --clear --python "$(PYTHON)" benchmarks/.venv
	uv pip sync --quiet --python benchmarks/.venv --require-hashes --compile-bytecode benchmarks/requirements.lock
	@touch $@

ui: setup  ## serve MLflow's UI on 127.0.0.1 (PORT=5000)
	@python -m pipeline ui --port $(PORT)

lock: setup  ## resolve both requirements.lock again from pyproject.toml
	uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
		--extra pipeline --extra postgresql --extra team --group dev \
		--custom-compile-command "make lock" pyproject.toml -o requirements.lock
	uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
		--group peers --custom-compile-command "make lock" -o benchmarks/requirements.lock

clean:  ## remove what the pipeline makes; MLflow's store, DVC's cache and .venv stay
	rm -rf data/raw data/prepared.npz runs evaluation .demo .team-demo .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage
