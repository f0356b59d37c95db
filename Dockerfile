# One image for the daemon, its agents and the pods that try mounts: `docker build -t hai-daemon:0.1.0 .`
# NVIDIA's library comes from the node, through its container runtime.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package hai-daemon --bins \
    && install -D target/release/hai-daemon target/release/hai -t /out/

# glibc and certificates, no shell; `nonroot` is 65532. NVIDIA's library can not be loaded by a static program.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/hai-daemon /out/hai /usr/local/bin/
USER 65532:65532
EXPOSE 8420
ENTRYPOINT ["/usr/local/bin/hai-daemon"]
CMD ["serve"]
