# Everything is installed in .venv and run from there. CI runs `make test`.

PYTHON ?= python3
# What pip is told to install torch: a requirement, a wheel, an index. Not given: what constraints.txt
# pins, unless that would bring CUDA's packages unasked.
TORCH ?=
PYTHONS ?= python3.11 python3.12 python3.13
BIN := .venv/bin
INSTALLED := .venv/installed.stamp
DEVELOPMENT := .venv/development.stamp

# What builds the site: mkdocs (with Material) or zensical.
SITE ?= mkdocs

.PHONY: demo test kernels lint types layers tests audit docs mutants conformance wheels format clean

demo: $(INSTALLED)
	mkdir -p build
	$(BIN)/qkv translate --show --merge-words --picture build/attention.png \
		"The children are playing in the garden." \
		"I would like a cup of coffee." \
		"Two dogs are running on the beach."
	@echo "The same as pictures: build/attention.png, build/attention-2.png, build/attention-3.png"

# Its last lines say what was tested of the kernels.
test: kernels lint types layers tests
	@$(BIN)/python scripts/kernels.py

# What is built to be tested takes the compiler's warnings as errors.
test kernels lint types layers tests: STRICT := -C cmake.define.QKV_STRICT=ON

kernels: $(DEVELOPMENT)
	@$(BIN)/python scripts/kernels.py

lint: $(DEVELOPMENT)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(DEVELOPMENT)
	$(BIN)/pyright

layers: $(DEVELOPMENT)
	$(BIN)/lint-imports

# One process per core, and one thread in each: threads of several processes would fight. What a file
# makes for all of its tests is made once.
tests: $(DEVELOPMENT)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile

# Known vulnerabilities of what is installed, where the registry tells of them.
audit: $(DEVELOPMENT)
	$(PYTHON) scripts/audit.py .venv

# The site, as files that any server shows: python -m http.server -d build/site
docs: $(DEVELOPMENT)
	$(BIN)/python scripts/pages.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/$(SITE) build --strict
	@echo "The site: build/site"

# Breaks the source in seeded ways and expects red tests; goes on where it was stopped. Takes most of
# an hour.
mutants: $(DEVELOPMENT)
	$(BIN)/python scripts/mutants.py --resume

# Runs the suites of others that apply and writes docs/conformance.md.
conformance: $(DEVELOPMENT)
	$(BIN)/pip install --quiet --group conformance
	$(BIN)/python scripts/conformance.py

# The source distribution and wheels for the Pythons of PYTHONS, in dist/, tested beside the torch that
# TORCH says (without it: its CPU build). Takes minutes, and fetches a torch for each Python once.
wheels:
	$(PYTHON) scripts/wheels.py $(if $(TORCH),--torch "$(TORCH)") $(PYTHONS)

format: $(DEVELOPMENT)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv build

define CHOOSE
Nothing was installed: for this Python pip finds no CPU build of torch, and the other one brings
CUDA's packages, gigabytes. Choose with
  make $(MAKECMDGOALS) TORCH="torch --index-url https://download.pytorch.org/whl/cpu"   (the CPU build)
  make $(MAKECMDGOALS) TORCH="torch"                 (with CUDA; any requirement, wheel or option of pip)
endef
export CHOOSE

# torch comes first, so that nothing after it fetches another one.
$(INSTALLED): pyproject.toml constraints.txt CMakeLists.txt $(wildcard src/qkv/native/cpp/* src/qkv/native/cpp/*/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "qkv needs Python 3.11 or newer: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
ifeq ($(TORCH),)
	@$(BIN)/pip install --quiet --dry-run --no-deps --report .venv/torch.json -c constraints.txt torch
	@if [ "$$(uname -s)" = Linux ] && grep -Eq '"(nvidia|cuda)-' .venv/torch.json; then \
		echo "$$CHOOSE"; exit 1; fi
	$(BIN)/pip install --quiet -c constraints.txt torch
else
	$(BIN)/pip install --quiet $(TORCH)
endif
	$(BIN)/pip install --quiet $(STRICT) -e ".[tasks]"
	touch $@

$(DEVELOPMENT): $(INSTALLED)
	$(BIN)/pip install --quiet --group dev
	touch $@
