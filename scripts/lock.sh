#!/usr/bin/env bash
# Resolves pyproject.toml into requirements/*.txt: every file pinned and hashed for Linux, macOS and Windows and for
# every supported Python at once (markers), with no index, host or path inside.
# Usage: scripts/lock.sh UV [--upgrade]      UV is the uv to run; without --upgrade the pins already there are kept.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$1
shift

# `fewest`: one release of each package for all Pythons, so that they differ as little as possible between machines.
# Wheels only: building one would fetch build tools that no hash vouches for. esptool has no wheel: it is built by what
# requirements/build.txt installs before.
resolve() {
  local output=$1
  shift
  "$uv" pip compile --quiet --no-config --universal --python-version 3.11 --fork-strategy fewest --only-binary :all: \
    --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
    --output-file "$output" "$@" >/dev/null
  echo "lock: $output"
}

resolve requirements/dev.txt "$@" pyproject.toml --all-extras --group build --no-binary esptool
resolve requirements/build.txt "$@" --group build --constraint requirements/dev.txt
# What the project runs with is what it was tested with: the same pins, without the extras.
resolve requirements/runtime.txt "$@" pyproject.toml --group build --constraint requirements/dev.txt
resolve requirements/typings-rp2.txt "$@" --group typings-rp2
resolve requirements/typings-esp32.txt "$@" --group typings-esp32
resolve requirements/peer.txt "$@" --no-deps --group peer
resolve requirements/lock.txt "$@" --group lock

if grep -nE '://|^-|(^|[[:space:]])@[[:space:]]' requirements/*.txt; then
  echo "lock: an index, host or path slipped in (above)" >&2
  exit 1
fi
