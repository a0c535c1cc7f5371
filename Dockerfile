# Switchyard with the shipped fleet: one gateway, or a node of a Ray cluster (docs/OPERATIONS.md). Weights are part of the image, so
# that a container starts without a network.
#
#   docker build -t switchyard . && docker run --rm -p 127.0.0.1:8700:8700 -e SWITCHYARD_API_KEYS=change-me switchyard
FROM python:3.11-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY kernels kernels
COPY routers routers
COPY orchestrator orchestrator
COPY evals evals
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
# libgomp: llama.cpp links it, and the slim image leaves it out.
RUN apt-get update && apt-get install --no-install-recommends --yes libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 switchyard \
    && install --directory --owner switchyard /config /batches
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(echo /wheels/*.whl)[local,ray,postgres]"

ENV SWITCHYARD_CACHE=/models SWITCHYARD_CONFIG=/config/experts.yaml
COPY --chown=switchyard experts.yaml /config/experts.yaml
RUN switchyard pull

USER switchyard
WORKDIR /home/switchyard
EXPOSE 8700
HEALTHCHECK CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8700/healthz', timeout=2)"]
# Without a key in SWITCHYARD_API_KEYS the gateway refuses any address but loopback.
CMD ["switchyard", "serve", "--host", "0.0.0.0"]
