#!/usr/bin/env bash
# Installs packages of the distribution: install-packages.sh <what for> <what to do elsewhere> <package>…
# On Debian as root through apt; elsewhere it says what is missing and stops. None of them starts a server of its own.
set -euo pipefail
for=$1 elsewhere=$2
shift 2

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing $*" >&2
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
else
  echo "missing for $for: $* ($elsewhere)" >&2
  exit 1
fi
