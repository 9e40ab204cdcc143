#!/usr/bin/env bash
# Installs what the benchmarks compare with and are driven by: HAProxy and wrk of the distribution.
# On Debian as root through apt; elsewhere it says what is missing and stops.
set -euo pipefail

missing=()
command -v haproxy >/dev/null || [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
command -v wrk >/dev/null || missing+=(wrk)
[ ${#missing[@]} -eq 0 ] && exit 0
"$(dirname "${BASH_SOURCE[0]}")/../tests/harness/install-packages.sh" "the benchmarks" "Debian package names; on macOS: brew install ${missing[*]}" "${missing[@]}"
