#!/usr/bin/env bash
# Installs promtool, which checks the alert rules and plays their series: on Debian as root through apt; elsewhere it says what is missing.
set -euo pipefail
command -v promtool >/dev/null && exit 0

# Of the package only the tool is wanted.
"$(dirname "${BASH_SOURCE[0]}")/../harness/install-packages.sh" "the chart's tests (promtool)" "Debian package name; on macOS: brew install prometheus" prometheus
