# Mixminus as an image: `docker build -t mixminus .`; how to run it: config/compose.yaml.

FROM rust:1.95-bookworm AS build

# cmake builds libopus.
RUN apt-get update \
 && apt-get install -y --no-install-recommends cmake \
 && rm -rf /var/lib/apt/lists/*

# The image's own toolchain is the pinned one; named here, rustup does not fetch the components that only `make lint` needs.
ENV RUSTUP_TOOLCHAIN=1.95.0

WORKDIR /src
COPY . .
# Caches of this machine: dependencies are fetched and compiled again only when Cargo.lock changes.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin mixminus \
 && cp target/release/mixminus /usr/local/bin/mixminus


FROM debian:bookworm-slim

COPY --from=build /usr/local/bin/mixminus /usr/local/bin/mixminus
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/mixminus/

# Numbered, so that files and secrets on the host can be given to it. A fresh volume takes over the directory's owner.
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin mixminus \
 && install -d -o mixminus -g mixminus -m 0750 /var/lib/mixminus /var/lib/mixminus/recordings
USER 10001:10001
WORKDIR /var/lib/mixminus
ENV MIXMINUS_RECORDING__DIR=/var/lib/mixminus/recordings

# HTTP, gRPC, media. As it is, the daemon listens on loopback only: opening it takes keys (config/compose.yaml).
EXPOSE 8080/tcp 8081/tcp 10000-20000/udp

# SIGTERM drains, a second one stops at once.
STOPSIGNAL SIGTERM

# bash speaks TCP by itself: no curl in the image. Where the daemon has TLS, or another port, set another one.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n' >&3 && read -r -t 2 _ status _ <&3 && [ \"$status\" = 200 ]"]

ENTRYPOINT ["mixminus"]
CMD ["serve"]
