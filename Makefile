.DEFAULT_GOAL := help
.PHONY: help setup run demo tutorial test drills coverage mutants check studies independent bench ui lock clean

# The first interpreter on the path that the locked packages were made for.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)
PORT ?= 5000
# Rooms of values, whose own tests run all of them.
COVERED := comparison evaluation examples reporting runs studies training
READY := .venv/.ready
PEERS_READY := benchmarks/.venv/.ready
# DVC's stages call `python`: it has to be that of .venv.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv with the locked packages; nothing the second time

$(READY): requirements.lock
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found; name one: make PYTHON=..."; exit 69; }
	@# A link leads to another checkout's environment, which is not this one's to replace.
	@test ! -L .venv || { echo "error: .venv is a link; remove it, then make setup"; exit 73; }
	$(PYTHON) -m venv --clear .venv
	@# uv, itself locked in the same file, installs the rest several times faster than pip.
	sed -n '/^uv==/,/# via/p' requirements.lock > .venv/uv.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
	@# Without bytecode TensorFlow takes three times as long to import.
	uv pip sync --quiet --python .venv --require-hashes --compile-bytecode requirements.lock
	@touch $@

run: setup  ## download MNIST, train, compare, track; then print the answer
	@python -m pipeline params > /dev/null
	dvc repro
	@sed -n '1,3p' reports/report.md
	@printf '\n%s\n' "Open reports/report.html in a browser; make ui has the runs."

demo: setup  ## the same on 1,797 digits that are already here, in a folder of its own
	@python -m pipeline demo

tutorial: setup  ## run the tutorial's notebook and write docs/tutorial.md anew
	@test -d runs || { echo "error: there is nothing to tell of yet; make run first"; exit 66; }
	python -m notebooks.export

test: setup  ## run the tests
	pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

drills: setup  ## break things on purpose; what came out goes to docs/RELIABILITY.md
	pytest -m "" tests/faults --page docs/RELIABILITY.md

coverage: setup  ## how much of the rooms without side effects their own tests run, branches too
	pytest --numprocesses 2 --dist loadfile $(COVERED:%=--cov=pipeline.%) --cov-report= $(COVERED:%=tests/%)

mutants: setup  ## break the code an operator or number at a time; what no test noticed (ROOMS="training runs")
	@python -m tests.mutants $(ROOMS)

check: setup  ## lint, types, import layers, spelling
	ruff check
	ruff format --check
	pyrefly check --summary=none
	lint-imports --no-logo
	git ls-files -z ':!reports' ':!*requirements.lock' | xargs -0 codespell

studies: setup  ## put published claims to the test; the gallery is studies/README.md
	dvc repro studies/dvc.yaml

independent: setup  ## check three studies against plain NumPy; what came out goes to studies/INDEPENDENT.md
	pytest -m "" tests/independent --page studies/INDEPENDENT.md

bench: setup  ## time it beside its peers (3 GB of packages the first time), in a quarter of an hour
	@$(MAKE) --no-print-directory $(PEERS_READY)
	dvc repro prepare
	@python -m benchmarks

# An environment of its own: .venv neither makes it nor is made for it.
$(PEERS_READY): benchmarks/requirements.lock
	uv venv --quiet --clear --python "$(PYTHON)" benchmarks/.venv
	uv pip sync --quiet --python benchmarks/.venv --require-hashes --compile-bytecode benchmarks/requirements.lock
	@touch $@

ui: setup  ## MLflow's UI on 127.0.0.1 (PORT=5000)
	@python -m pipeline ui --port $(PORT)

lock: setup  ## resolve both requirements.lock anew from pyproject.toml
	uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
		--group dev --custom-compile-command "make lock" pyproject.toml -o requirements.lock
	uv pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
		--group peers --custom-compile-command "make lock" -o benchmarks/requirements.lock

clean:  ## remove what the pipeline makes; MLflow's store, DVC's cache and .venv stay
	rm -rf data runs evaluation .demo .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage
