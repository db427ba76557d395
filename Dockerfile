# One image for all services; its arguments say which: services.profile.main server
#
# Both bases are arguments: BUILD_BASE holds a C compiler besides the same Python that BASE holds.
ARG BUILD_BASE=python:3.12-bookworm
ARG BASE=python:3.12-slim-bookworm

FROM ${BUILD_BASE} AS build
WORKDIR /build
# With a folder of wheels in the context (make images WHEELS=folder) pip asks no index, and no network is needed.
COPY requirements-image.lock wheel[s] /build/
RUN python3 -m venv /opt/pip \
    && python3 -m venv --without-pip /opt/rapport \
    && if ls /build/*.whl >/dev/null 2>&1; then set -- --no-index --find-links /build; fi \
    && /opt/pip/bin/pip --python /opt/rapport/bin/python install --no-cache-dir --require-hashes \
        --requirement /build/requirements-image.lock "$@"
COPY pyproject.toml /app/
COPY proto /app/proto
COPY services /app/services
COPY rules /app/rules
# The root file system is read-only where it runs, so what Python would write beside the code is written here.
RUN /opt/rapport/bin/python -m compileall -q /app /opt/rapport/lib

FROM ${BASE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Rapport" org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/rapport /opt/rapport
COPY --from=build /app /app
ENV PATH=/opt/rapport/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app:/app/proto \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LC_ALL=C.UTF-8 \
    RAPPORT_RULES_FOLDER=/app/rules
WORKDIR /app
USER 10001:10001
ENTRYPOINT ["python", "-P", "-m"]
