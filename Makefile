# `make demo` and `make test` set up whatever they need first; a second call starts at once.
PY := .venv/bin
.PHONY: distros fuzz layers netem-test setup demo test test-all test-pure lint bench results

setup:
	@./setup.sh

demo: setup
	$(PY)/overlaybench run demo --out runs/demo-$$(date +%Y%m%d-%H%M%S)

test:
	@./setup.sh test
	@# Pinned builds, once, into the user's cache folder; a machine without Go (exit 3) goes on without them, and their
	@# tests are skipped by name. The large ones (ipfs, ethereum, netbird) are for `make test-all`, and skipped by name without it.
	$(PY)/overlaybench install easytier bittorrent
	$(PY)/overlaybench install nebula-go tailscale libp2p frp || [ $$? = 3 ]
	@# What needs no lab runs on all processors, labs that wait run three at a time; labs that measure want the machine for
	@# themselves.
	$(PY)/python -m pytest -m "not lab" -n auto --dist loadscope
	$(PY)/python -m pytest -m "lab and waits" -n 3
	$(PY)/python -m pytest -m "lab and not waits"

# The same with every system that can be had here: the first time it builds for up to forty minutes.
test-all:
	@./setup.sh test
	$(PY)/overlaybench install --all || [ $$? = 3 ]
	OVERLAYBENCH_EVERY_EVENT=1 OVERLAYBENCH_NETWORKS=all $(MAKE) test

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
	$(PY)/python -m bench.publish runs/published-$(COMMIT)-demo results/demo
	$(PY)/python -m bench.publish runs/published-$(COMMIT)-nat-matrix results/nat-matrix
	$(PY)/python -m bench.claim run --runs runs/published-$(COMMIT)-claim || [ $$? = 1 ]
	$(PY)/python -m bench.claim publish --runs runs/published-$(COMMIT)-claim
	$(PY)/python -m tests.recompute results/demo results/nat-matrix results/claim results/claim-outage

bench: setup
	$(PY)/python -m bench

# What L2, L3 and L7 cost over one path, into results/layers; about eleven minutes a repeat on two processors.
REPEAT ?= 3
layers: setup
	$(PY)/overlaybench run layers --repeat $(REPEAT) --out runs/layers
	$(PY)/python -m bench.publish runs/layers results/layers

# The netem half of the link tests, in Debian's kernel under QEMU; fetches kernel and emulator on first use.
netem-test: setup
	tests/netem/boot.sh

# Everything on every release that people are likely to have, each from a bare system: for the night. A release that this
# machine's archive lacks is skipped by name.
distros:
	@failed=; for release in bookworm trixie forky noble resolute; do \
		tests/distros/run.sh $$release full || [ $$? = 3 ] || failed="$$failed $$release"; \
	done; [ -z "$$failed" ] || { echo "failed on:$$failed"; exit 1; }

# Ten minutes for each kind of hostility against refmesh, or SECONDS_EACH; for the night. Exits at the first violation.
FUZZ_COUNT ?= 1000000
FUZZ_SEED ?= $(shell date +%j)
SECONDS_EACH ?= 600
fuzz: setup
	$(PY)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,fuzz]"
	$(PY)/python tests/fuzz/refmesh_datagrams.py --count $(FUZZ_COUNT) --seed $(FUZZ_SEED)
	$(PY)/python tests/fuzz/refmesh_members.py --count $(FUZZ_COUNT) --seed $(FUZZ_SEED)
	$(PY)/python tests/fuzz/refmesh_devices.py --count $(FUZZ_COUNT) --seed $(FUZZ_SEED)
	$(PY)/python tests/fuzz/refmesh_sockets.py --count $(FUZZ_COUNT) --seed $(FUZZ_SEED)
	$(PY)/python tests/fuzz/refmesh_parsers.py -max_total_time=$(SECONDS_EACH) -max_len=2048 -seed=$(FUZZ_SEED)
