# `make demo` and `make test` set up whatever they need first; a second call starts at once.
PY := .venv/bin
.PHONY: package-test distros docs fuzz fuzz-million layers netem-test population setup demo test test-all test-pure lint bench results site

setup:
	@./setup.sh

demo: setup
	$(PY)/overlaybench run demo --out runs/demo-$$(date +%Y%m%d-%H%M%S)

test:
	tests/run.sh

# The same with every system that can be had here: the first time it builds for up to forty minutes.
test-all:
	@./setup.sh test
	$(PY)/overlaybench install --all || [ $$? = 3 ]
	OVERLAYBENCH_NIGHTLY=1 OVERLAYBENCH_EVERY_EVENT=1 OVERLAYBENCH_NETWORKS=all $(MAKE) test
	$(MAKE) netem-test || [ $$? = 3 ]
	$(MAKE) fuzz

test-pure:
	@./setup.sh test
	$(PY)/python -m pytest -m "not lab" -n auto --dist loadscope

lint: setup
	$(PY)/ruff check .
	$(PY)/ruff format --check .
	$(PY)/mypy
	$(PY)/lint-imports

# Runs the published scenarios again on a quiet machine, and renews results/ and README.md's tables from them; killed, it goes
# on where it was. Runs of a commit lie in runs/published-COMMIT-*.
COMMIT = $(shell git rev-parse --short HEAD)
results: setup
	$(PY)/overlaybench run demo --repeat 3 --resume --out runs/published-$(COMMIT)-demo || [ $$? = 1 ]
	$(PY)/overlaybench run nat-matrix --repeat 1 --resume --out runs/published-$(COMMIT)-nat-matrix || [ $$? = 1 ]
	$(PY)/overlaybench publish runs/published-$(COMMIT)-demo results/demo
	$(PY)/overlaybench publish runs/published-$(COMMIT)-nat-matrix results/nat-matrix
	$(PY)/python -m bench.claim run --runs runs/published-$(COMMIT)-claim || [ $$? = 1 ]
	$(PY)/python -m bench.claim publish --runs runs/published-$(COMMIT)-claim
	$(PY)/python -m tests.recompute results/demo results/nat-matrix results/claim results/claim-outage

# The field's mix in simulation, each cell held against results/nat-matrix, into results/population: some five minutes on
# two processors. A population, seed and commit have one result, on any machine.
population: setup
	$(PY)/overlaybench simulate field --emulated results/nat-matrix --resume --out runs/published-$(COMMIT)-population
	$(PY)/overlaybench publish runs/published-$(COMMIT)-population results/population

# The documentation; a link that leads nowhere ends it with an error. SITE is where it goes, below docs.
SITE ?= build/site
docs:
	@./setup.sh test
	$(PY)/mkdocs build --strict --site-dir $(SITE)/docs

# Scoreboard and documentation as one site, of the published runs or of RUNS.
RUNS ?= $(wildcard results/*)
site: docs
	$(PY)/overlaybench site $(RUNS) --out $(SITE)

bench: setup
	$(PY)/python -m bench

# What L2, L3 and L7 cost over one path, into results/layers; about eleven minutes a repeat on two processors.
REPEAT ?= 3
layers: setup
	$(PY)/overlaybench run layers --repeat $(REPEAT) --out runs/layers
	$(PY)/overlaybench publish runs/layers results/layers

# The netem half of the link tests, in Debian's kernel under QEMU; fetches kernel and emulator on first use.
netem-test: setup
	tests/netem/boot.sh

# The package outside the checkout: built, installed, run as an ordinary user in an empty folder. About five minutes.
package-test:
	tests/package/run.sh

# Everything on every release that people are likely to have, each from a bare system: for the night. A release that this
# machine's archive lacks is skipped by name.
distros:
	@failed=; for release in bookworm trixie forky noble resolute; do \
		tests/distros/run.sh $$release full || [ $$? = 3 ] || failed="$$failed $$release"; \
	done; [ -z "$$failed" ] || { echo "failed on:$$failed"; exit 1; }

# A million of each kind of hostility against refmesh, two at a time: some fifty minutes on two
# processors, most of them for what members, servers, relays and hubs say to each other. Exits at the first violation.
FUZZ_COUNT ?= 1000000
# %-j: with zeros in front, 008 would be octal.
FUZZ_SEED ?= $(shell date +%-j)
fuzz-million: setup
	half=$$(($(FUZZ_COUNT) / 2)); printf '%s %s %s\n' members $$half $(FUZZ_SEED) members $$half $$(($(FUZZ_SEED) + 500000)) \
		devices $(FUZZ_COUNT) $(FUZZ_SEED) hub $(FUZZ_COUNT) $(FUZZ_SEED) sockets $(FUZZ_COUNT) $(FUZZ_SEED) datagrams $(FUZZ_COUNT) $(FUZZ_SEED) | \
		xargs -P 2 -L 1 sh -c '$(PY)/python tests/fuzz/refmesh_$$0.py --count $$1 --seed $$2 || exit 255'

# The same, and ten minutes of what finds its way by coverage, or SECONDS_EACH; for the night.
SECONDS_EACH ?= 600
fuzz: fuzz-million
	$(PY)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,fuzz]"
	$(PY)/python tests/fuzz/refmesh_parsers.py -max_total_time=$(SECONDS_EACH) -max_len=2048 -seed=$(FUZZ_SEED)
