# One image for web, workers, beat and flower; docker-compose.yml says which is which.
FROM python:3.11-slim-bookworm AS packages
COPY requirements/server.txt /tmp/server.txt
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes --no-deps -r /tmp/server.txt

FROM python:3.11-slim-bookworm
# The directories exist with their owner, so that new volumes get it too.
RUN groupadd --gid 10001 modelyard \
    && useradd --uid 10001 --gid modelyard --no-create-home --shell /usr/sbin/nologin modelyard \
    && install -d -o modelyard -g modelyard -m 0750 /data \
    && install -d -o modelyard -g modelyard -m 0755 /models
COPY --from=packages /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MODELYARD_DATA_DIR=/data \
    MODELYARD_MODELS_DIR=/models \
    MODELYARD_STATIC_DIR=/app/staticfiles
WORKDIR /app
COPY manage.py ./
COPY config config
COPY ops ops
COPY transfer transfer
COPY sources sources
COPY tokens tokens
COPY registry registry
COPY downloads downloads
COPY templates templates
COPY static static
# The settings make secrets of their own where none are named; those of the build are thrown away.
RUN MODELYARD_DATA_DIR=/tmp/build python manage.py collectstatic --noinput --verbosity 0 \
    && python -m whitenoise.compress --quiet /app/staticfiles \
    && rm -rf /tmp/build
USER modelyard
EXPOSE 8000
CMD ["uvicorn", "config.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--timeout-graceful-shutdown", "3", "--log-config", "config/up/uvicorn-log.json", "--no-access-log", "--no-server-header", "--lifespan", "off"]
