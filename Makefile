# The commands of the daily loop. `make help` lists them; CONTRIBUTING.md says how they are used.
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
PRESET ?= dev
RUN_PRESET ?= release
JOBS ?= $(shell nproc)

.DEFAULT_GOAL := help
.PHONY: help run build test check format docs sim fuzz coverage crash soak interop-more bench bench-idle bench-instructions bench-kafka bench-partitions bench-topics package clean

help: ## list the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-19s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: ## install what is missing, build the release preset, start the server (ARGS="..." are given to it)
	@tools/install.sh build try
	@tools/build.sh $(RUN_PRESET) robust
	@exec build/$(RUN_PRESET)/bin/robust-server start $(ARGS)

build: ## build everything in one preset (PRESET=dev | asan | tsan | release)
	@tools/install.sh build test
	@tools/build.sh $(PRESET)

test: ## install, check, every test under ASan and UBSan, fuzzers 20 s each, the cross-core tests under TSan
	@tools/install.sh build test
	@tools/test.sh

check: ## format, import guard, generated docs (CI=true: clang-tidy on what changed, and each header alone)
	@tools/install.sh build test
	@tools/check.sh

format: ## format every source file
	@git ls-files -co --exclude-standard '*.cc' '*.h' | xargs -r clang-format-19 -i

docs: ## write docs/reference anew
	@tools/build.sh $(PRESET) robust
	@build/$(PRESET)/bin/robust-server docs docs/reference

sim: ## simulate the whole node: SEED=n replays one seed, SEEDS=n runs that many
	@tools/install.sh build test
	@tools/sim.sh

fuzz: ## every fuzzer for 20 CPU minutes (FUZZ_SECONDS=n for another time)
	@tools/install.sh build test
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-1200} tools/fuzz.sh

coverage: ## which lines of codecs, connections and framing their tests run; below 90 % a room it fails
	@tools/install.sh build test
	@tools/coverage.sh

crash: ## 200 crash rounds, 20 power cuts on a loop device (needs root), chains over 100 kills (CHAIN_KILLS=n), failpoints
	@tools/install.sh build test
	@tools/crash.sh

soak: ## an hour of mixed load, then nothing may be left of it (SOAK_SECONDS=n for another time)
	@tools/install.sh build test
	@tools/build.sh release robust
	@python3 tests/e2e/soak.py --server build/release/bin/robust-server --seconds $${SOAK_SECONDS:-3600}

interop-more: ## Kafka's own tools, many clients, and a real Kafka as the oracle (needs Maven Central, PyPI, the Go proxy, crates.io once)
	@tools/install.sh build test
	@tools/build.sh $(RUN_PRESET) robust
	@/usr/bin/python3 tests/interop_more/run.py --server build/$(RUN_PRESET)/bin/robust-server $(ARGS)

bench: ## compare with Mosquitto and with the bare loop; prints ratios
	@tools/install.sh build test bench
	@tools/bench.sh $(ARGS)

bench-idle: ## memory of 15,000 idle connections, plain and over TLS 1.3
	@tools/install.sh build test
	@tools/build.sh release robust
	@/usr/bin/python3 tools/bench/idle.py $(ARGS)

bench-instructions: ## user instructions a delivered message, counted by callgrind; some minutes
	@tools/install.sh build test bench
	@tools/build.sh release robust
	@/usr/bin/python3 tools/bench/instructions.py $(ARGS)

bench-kafka: ## compare with Apache Kafka (from Maven Central) and with the bare loop: CPU a GB, latencies, catch-up, start
	@tools/install.sh build test
	@tools/build.sh release robust
	@/usr/bin/python3 tools/bench/compare_kafka.py $(ARGS)

bench-partitions: ## 100,000 partitions on one node: memory, descriptors, start after kill -9, records a second
	@tools/install.sh build test
	@tools/build.sh release robust
	@/usr/bin/python3 tools/bench/partitions.py $(ARGS)

bench-topics: ## a million light topics, in memory and persistent: memory, CPU, rate, start after kill -9
	@tools/install.sh build test
	@tools/build.sh release robust
	@/usr/bin/python3 tools/bench/topics.py $(ARGS)

package: ## one static file with licence, default config and docs as a tar.gz, and its test
	@tools/install.sh build test
	@tools/package.sh

clean: ## remove what was built
	@rm -rf build
