# One image for every role: serve, gateway, agent. How it is built and run: docs/operations/container.md.

# A release pins it by its digest: docker.io/library/debian:bookworm-slim@sha256:…
ARG BASE=docker.io/library/debian:bookworm-slim

# ---- Packages: what the locks pin ------------------------------------------------------------------------------------
FROM ${BASE} AS packages
# cpu, or cuda for NVIDIA GPUs.
ARG ANIMEGAN_LOCK=cpu
# The URL of an index for PyTorch's CPU build, instead of PyTorch's own.
ARG ANIMEGAN_TORCH_INDEX=
# video: also what draws videos, with licences of its own (docs/decisions/libraries.md).
ARG ANIMEGAN_EXTRAS=
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# Debian's versions move with its security updates, and the older ones are gone then: the base's digest is what is pinned.
# hadolint ignore=DL3008
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates g++ python3 python3-venv \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/animegan
COPY requirements requirements
COPY scripts/bootstrap.py scripts/bootstrap.py
# The secret is a pip.conf, for an index of one's own. Not needed to run are pip, headers, tests, static libraries and the
# symbols that a debugger reads.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf python3 scripts/bootstrap.py ${ANIMEGAN_EXTRAS:+"$ANIMEGAN_EXTRAS"} \
  && packages=$(echo .venv/lib/python3.*/site-packages) \
  && rm -rf .venv/bin/pip* "$packages"/{pip,pip-*.dist-info,torch/{include,test,lib/lib*test*.so},onnx/backend/test} \
  && find "$packages"/torch/bin -mindepth 1 ! -name torch_shm_manager -delete \
  && find "$packages" -type d -name tests -prune -exec rm -rf {} + \
  && find "$packages" -name '*.a' -delete \
  && strip --strip-unneeded "$packages"/torch/lib/*.so

# ---- What is built of the sources ------------------------------------------------------------------------------------
FROM packages AS build
COPY . .
RUN .venv/bin/animegan compile \
  && .venv/bin/animegan archive \
  && .venv/bin/python -m compileall -q handler gateway scripts \
  && rm -rf .venv

# ---- What runs -------------------------------------------------------------------------------------------------------
FROM ${BASE}
ARG ANIMEGAN_LOCK=cpu
# Java's package wants a folder that Debian's slim images lack. Triton compiles its launcher when a GPU draws its first
# picture: the variant for GPUs, and no other, carries a C compiler.
# hadolint ignore=DL3008
RUN mkdir -p /usr/share/man/man1 \
  && apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates openjdk-17-jre-headless python3 tini \
  && if [ "$ANIMEGAN_LOCK" = cuda ]; then apt-get install -y --no-install-recommends gcc libc6-dev libpython3-dev; fi \
  && apt-get clean \
  && rm -rf /var/lib/apt/lists/* /var/log/*.log /var/log/apt /var/cache/debconf/*-old /tmp/* \
  && groupadd --gid 10001 animegan \
  && useradd --uid 10001 --gid animegan --no-log-init --no-create-home --home-dir /var/lib/animegan \
    --shell /usr/sbin/nologin animegan \
  && install -d -o animegan -g animegan -m 0750 /var/lib/animegan
# The packages are a layer of their own, which a new version of the sources leaves as it is.
COPY --from=packages /opt/animegan/.venv /opt/animegan/.venv
COPY --from=build /opt/animegan /opt/animegan

ENV PATH=/opt/animegan/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  LANG=C.UTF-8 \
  PYTHONDONTWRITEBYTECODE=1 \
  PYTHONUNBUFFERED=1 \
  # The data: the queue, pictures, API keys, installed styles.
  ANIMEGAN_HOME=/var/lib/animegan \
  # A container's own loopback can't be reached from outside. Off loopback the gateway wants API keys.
  ANIMEGAN_GATEWAY_HOST=0.0.0.0 \
  # What it was built for: a container that was to have a GPU and has none says so.
  ANIMEGAN_DEVICE=${ANIMEGAN_LOCK} \
  # Only where there is a GPU.
  NVIDIA_DRIVER_CAPABILITIES=compute,utility \
  TRITON_CACHE_DIR=/var/lib/animegan/triton

USER 10001:10001
WORKDIR /var/lib/animegan
VOLUME /var/lib/animegan
EXPOSE 8000
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/tini", "--", "animegan"]
CMD ["serve"]
# Long enough at the start for every style to be loaded and warmed up on a slow CPU.
HEALTHCHECK --interval=10s --timeout=10s --start-period=300s --retries=3 CMD ["python", "-m", "animegan_cli.serving.health"]

ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="AnimeGAN Serve" \
  org.opencontainers.image.description="Photo in, anime picture out: AnimeGANv2's generator behind TorchServe and a queue." \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}"
