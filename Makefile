# Everything one does with Mixminus, one command each. Needs rustup (or a Rust of the version in rust-toolchain.toml),
# a C compiler and make; `make deps` sees to the rest.

CARGO ?= cargo

# Where the pinned toolchain is installed, rustup need not ask the network for its components.
PINNED := $(shell sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
ifneq ($(shell rustup toolchain list 2>/dev/null | grep '^$(PINNED)-'),)
export RUSTUP_TOOLCHAIN ?= $(PINNED)
endif

# Where cargo puts what it builds, and what else is made along the way.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help deps demo test torture session bench quality lint run

help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST)

deps: ## install cmake where it is missing (libopus is built with it)
	@command -v cmake >/dev/null 2>&1 || sh .ci/install-cmake

demo: deps ## the main job, end to end, on this machine: about 20 s once it is built
	$(CARGO) run --locked -- demo

# Many tests wait for what takes its time, and leave the processors to others meanwhile.
test: export RUST_TEST_THREADS ?= $(shell expr 2 '*' $$(nproc))

test: deps ## all tests; same build profile as the demo
	$(CARGO) test --locked

torture: deps ## what takes long: 200 kills, 40 stories of uploads, floods, storms with every codec, ten minutes of callers who come and go (MIXMINUS_SOAK_S), a session over both faces; half an hour; MIXMINUS_SEED repeats one
	MIXMINUS_KILLS=$(or $(MIXMINUS_KILLS),200) MIXMINUS_UPLOAD_STORIES=$(or $(MIXMINUS_UPLOAD_STORIES),40) \
		$(CARGO) test --locked --test suite kills:: -- --nocapture --test-threads=1
	$(CARGO) test --locked --test suite -- --ignored --nocapture --test-threads=1
	MIXMINUS_TORTURE=1 $(CARGO) test --locked --test suite -- storms:: simulation:: --nocapture
	MIXMINUS_HISTORIES=$(or $(MIXMINUS_HISTORIES),100000) $(CARGO) test --locked --lib random_histories -- --nocapture
	$(MAKE) session

session: deps ## a switch's life with a room by curl and by gRPC (reflection), and the two compared; installs what it needs
	tests/session/install $(TARGET)/session/venv
	$(CARGO) build --locked --bin mixminus
	PYTHONPATH=tests PYTHONPYCACHEPREFIX=$(TARGET)/session/pycache $(TARGET)/session/venv/bin/python -m session \
		--program $(TARGET)/debug/mixminus --directory $(TARGET)/session/daemons

bench: deps ## measure codecs, resampler, packets and ticks
	$(CARGO) bench --locked

quality: deps ## real speech through the daemon beside independent codecs, in PESQ: some minutes; installs what it needs
	tests/quality/install $(TARGET)/quality/venv
	$(CARGO) build --locked --release --bin mixminus --example codec_pipe --example playout_pipe --example activity_pipe
	$(CARGO) build --locked --release --manifest-path tests/quality/neteq_peer/Cargo.toml --target-dir $(TARGET)/quality
	PYTHONPATH=tests PYTHONPYCACHEPREFIX=$(TARGET)/quality/pycache $(TARGET)/quality/venv/bin/python -m quality \
		--programs $(TARGET)/release --neteq $(TARGET)/quality/release/neteq-peer --directory $(TARGET)/quality/daemon $(TABLES)

lint: deps ## formatting and clippy, warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

run: deps ## the daemon, optimised, with default settings
	$(CARGO) run --locked --release -- serve
