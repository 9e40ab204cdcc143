#!/usr/bin/env bash
# Builds the foreign checker of logs once, outside the work tree, and prints its path. Installs Go from the distribution when there is
# none (Debian as root); elsewhere it says what is missing and stops.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

version=$(cat go.mod go.sum ./*.go | cksum | tr " " -)
program=${XDG_CACHE_HOME:-$HOME/.cache}/caracal/log-check-$version-$(uname -sm | tr ' ' -)
if [ -x "$program" ]; then
  echo "$program"
  exit 0
fi

if ! command -v go >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing golang-go" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-go ca-certificates >/dev/null
  else
    echo "missing for the tests: Go 1.18 or newer (Debian: golang-go; macOS: brew install go)" >&2
    exit 1
  fi
fi

# Everything but our own modules comes with Go itself; nothing is compiled with a C compiler, no other Go is downloaded.
mkdir -p "$(dirname "$program")"
part=$(mktemp "$program.XXXXXX")
trap 'rm -f "$part"' EXIT
CGO_ENABLED=0 GOTOOLCHAIN=local GOWORK=off GOFLAGS="-mod=readonly -trimpath -buildvcs=false" go build -o "$part" .
chmod 755 "$part"
mv "$part" "$program"
echo "$program"
