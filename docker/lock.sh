#!/bin/sh
# Pins what the images install, with hashes, to the newest releases that pyproject.toml allows:
#
#   sh docker/lock.sh        (needs uv: pip install uv)
set -eu
cd "$(dirname "$0")"

pin() {
  uv pip compile --quiet --upgrade --python-version 3.11 --python-platform linux --generate-hashes --no-annotate \
    --custom-compile-command "sh docker/lock.sh" --output-file "$@"
}

pin requirements.cpu.txt ../pyproject.toml --extra serve --extra otel
pin requirements.cuda.txt ../pyproject.toml --extra gpu --extra otel
pin requirements.train.txt ../pyproject.toml --extra train --extra s3
pin requirements.build.txt requirements.build.in
