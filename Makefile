# Everything one does with Mixminus, one command each. Needs rustup (or a Rust of the version in rust-toolchain.toml),
# a C compiler and make; `make deps` sees to the rest.

CARGO ?= cargo

# Where the pinned toolchain is installed, rustup need not ask the network for its components.
PINNED := $(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
ifneq ($(shell rustup toolchain list 2>/dev/null | grep '^$(PINNED)-'),)
export RUSTUP_TOOLCHAIN ?= $(PINNED)
endif

.PHONY: help deps demo test bench lint run

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST)

deps: ## install cmake where it is missing (libopus is built with it)
	@command -v cmake >/dev/null 2>&1 || sh .ci/install-cmake

demo: deps ## the main job, end to end, on this machine: about 20 s once it is built
	$(CARGO) run --locked -- demo

test: deps ## all tests; same build profile as the demo
	$(CARGO) test --locked

bench: deps ## measure codecs, resampler, packets and ticks
	$(CARGO) bench --locked

lint: deps ## formatting and clippy, warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

run: deps ## the daemon, optimised, with default settings
	$(CARGO) run --locked --release -- serve
