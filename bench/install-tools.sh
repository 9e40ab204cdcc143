#!/usr/bin/env bash
# Installs what the benchmarks compare with and are driven by: HAProxy and wrk of the distribution.
# On Debian as root through apt; elsewhere it says what is missing and stops.
set -euo pipefail

missing=()
command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
command -v wrk >/dev/null || missing+=(wrk)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing ${missing[*]}" >&2
  # HAProxy's package would start a server of its own; the benchmarks start theirs.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
else
  echo "missing for the benchmarks: ${missing[*]} (Debian package names; on macOS: brew install ${missing[*]})" >&2
  exit 1
fi
