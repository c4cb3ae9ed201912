# The two commands that matter are `make demo` and `make test`; the rest is for those who work here.
# Everything is built in one profile (release) and one target folder, so that torch-sys is compiled once.

CARGO ?= cargo
NPM := npm --prefix frontend
PAGE := frontend/dist/index.html
PAGE_SOURCES := $(shell find frontend/src frontend/public -type f -not -path '*/generated/*' 2>/dev/null) \
	frontend/index.html frontend/package-lock.json frontend/openapi.json frontend/vite.config.ts frontend/tsconfig.json
# The reference libraries live outside the repository.
REFERENCE ?= $(HOME)/.cache/anymodel/reference

.PHONY: demo test soak lint bench bench-language bench-pictures zoo gpu-bundle openapi setup setup-test binaries reference

demo: binaries
	@deploy/demo.sh

test: setup-test $(PAGE)
	$(CARGO) build --release --workspace --bins
	$(NPM) test
	$(CARGO) test --release --workspace
	integration-tests/browser.sh

# Ten minutes of what `make test` does for one.
soak: setup-test $(PAGE)
	$(CARGO) build --release --workspace --bins
	SOAK_SECONDS=600 $(CARGO) test --release --workspace --test end_to_end soak:: -- --nocapture

lint: setup $(PAGE)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
	$(NPM) run lint
	$(NPM) run typecheck

bench: binaries reference
	python3 benchmarks/run.py --reference $(REFERENCE)/bin/python --bin-dir target/release

# Tables of their own: benchmarks/language.md and pictures.md. BENCH has further arguments, such as --device cuda:0.
bench-language bench-pictures: bench-%: binaries reference
	python3 benchmarks/run.py --only $* --reference $(REFERENCE)/bin/python --bin-dir target/release $(BENCH)

# make zoo MODEL=storyteller
zoo: reference
	PYTHON=$(REFERENCE)/bin/python zoo/make.sh $(MODEL)

# A stripped worker for a machine that has libtorch with CUDA.
gpu-bundle: setup
	deploy/gpu-bundle.sh

openapi: binaries
	target/release/control-plane --print-openapi > frontend/openapi.json

binaries: setup $(PAGE)
	$(CARGO) build --release --workspace --bins

setup:
	@deploy/setup.sh

setup-test:
	@deploy/setup.sh test

frontend/node_modules/.package-lock.json: frontend/package-lock.json
	$(NPM) ci --silent
	@touch $@

$(PAGE): frontend/node_modules/.package-lock.json $(PAGE_SOURCES)
	$(NPM) run --silent build
	@touch $@

reference: $(REFERENCE)/complete

$(REFERENCE)/complete: zoo/requirements.txt benchmarks/requirements.txt gpu-worker/tests/fixtures/requirements.txt
	python3 -m venv $(REFERENCE)
	$(REFERENCE)/bin/pip install --quiet -r zoo/requirements.txt -r benchmarks/requirements.txt -r gpu-worker/tests/fixtures/requirements.txt
	@touch $@
