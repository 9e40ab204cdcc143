#!/usr/bin/env bash
# Installs the servers that the tests run against: Postgres and Redis of the distribution.
# On Debian as root through apt; elsewhere it says what is missing and stops.
set -euo pipefail

missing=()
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || missing+=(postgresql)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v openssl >/dev/null || missing+=(openssl)
command -v curl >/dev/null || missing+=(curl)
ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing+=(faketime) # clocks that jump
[ ${#missing[@]} -eq 0 ] && exit 0
"$(dirname "${BASH_SOURCE[0]}")/install-packages.sh" "the tests" "Debian package names; on macOS: brew install postgresql@17 redis" "${missing[@]}"
