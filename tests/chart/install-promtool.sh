#!/usr/bin/env bash
# Installs promtool, which checks the alert rules and plays their series: on Debian as root through apt; elsewhere it says what is missing.
set -euo pipefail
command -v promtool >/dev/null && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing promtool (package prometheus)" >&2
  # The package would start a server; only the tool is wanted.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >/dev/null
else
  echo "missing for the chart's tests: promtool (Debian: prometheus; macOS: brew install prometheus)" >&2
  exit 1
fi
