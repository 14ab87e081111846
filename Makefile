# The plain commands behind each target are in the README.
PYTHON ?= python3
VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# Where uv installs to.
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
# PyTorch's Linux packages bring CUDA; `make TORCH=cpu ...` takes those that do not, from PyTorch's own index.
# Another PyTorch has no use for the CUDA libraries that are pinned: the pins are then limits, not a list.
ifdef TORCH
PACKAGES := --torch-backend $(TORCH) --requirement requirements-common.in --requirement requirements.in --constraint requirements.txt
else
PACKAGES := --requirement requirements.txt
endif

.PHONY: install repro test app experiments results bench profile lint lock browser

# The environment alone; every other target makes it when it is missing.
install: $(VENV)/installed

repro: $(VENV)/installed
	dvc repro
	python -m inspection results

# Files side by side. With more than two workers what each of them imports and builds outweighs the gain.
test: $(VENV)/installed-dev browser
	python -m pytest -n 2 --dist loadfile

app: $(VENV)/installed
	python -m streamlit run streamlit_app.py --server.address 127.0.0.1 --server.port 8501

# What an experiment changed in the params, the out-of-fold numbers to choose by, and the test numbers for the record.
experiments: $(VENV)/installed
	@dvc exp show --csv --only-changed --hide-workspace | python -m bench.experiments

# The tables of docs/results.md: all voters over several splits; hours on a small machine, continued where it was stopped.
results: $(VENV)/installed
	dvc repro export-backbone
	python -m bench.protocols --protocols a
	python -m bench.protocols --protocols b --seeds 3
	python -m bench.protocols --protocols c --seeds 1
	python -m bench.protocols --protocols a --networks efficientnet_lite0 --seeds 2

# The project beside other tools, see docs/benchmarks.md; about half an hour on an idle machine with two cores. With
# SOURCE, a folder in MVTec layout, also its detector beside others.
bench: $(VENV)/installed-bench
	dvc repro
	python -m bench.throughput
	python -m bench.serving
	python -m bench.reruns
	python -m bench.audit_peers
	python -m bench.training_peers
	$(if $(SOURCE),python -m bench.detectors --source "$(SOURCE)")

# Where a stage spends its time, as a flame graph: make profile STAGE="prepare" or STAGE="extract_features --backbone ..."
STAGE ?= prepare
profile: $(VENV)/installed-bench
	py-spy record --subprocesses --output profile.svg -- python -m stages.$(STAGE)

lint: $(VENV)/installed-dev
	ruff check .
	ruff format --check .
	lint-imports
	mypy

# Compile the complete, pinned requirements of every platform from the direct needs.
lock: $(VENV)/installed-dev
	uv pip compile --universal --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" -q requirements-common.in requirements.in -o requirements.txt
	uv pip compile --universal --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" -q requirements-common.in requirements-app.in -c requirements.txt -o requirements-app.txt
	uv pip compile --universal --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" -q requirements-dev.in -o requirements-dev.txt
	uv pip compile --universal --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" -q requirements-bench.in -o requirements-bench.txt

# Editable: the command `inspection` runs what is in this folder. By uv, yours or one of the environment's own: it takes a
# fraction of pip's time.
$(VENV)/installed: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	command -v uv >/dev/null || python -m pip install --quiet --constraint requirements-dev.txt uv
	uv pip install --quiet $(PACKAGES)
	uv pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	uv pip install --quiet --requirement requirements-dev.txt
	touch $@

$(VENV)/installed-bench: $(VENV)/installed requirements-bench.txt
	uv pip install --quiet --requirement requirements-bench.txt
	touch $@

# The browser test drives a Chromium that the machine has; as root with apt it is installed here.
browser:
	@if command -v chromium || command -v chromium-browser || command -v google-chrome; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; \
	else echo "no Chromium found: the browser test will be skipped"; fi
