#!/usr/bin/env bash
# Installs what the cluster of the tests is made of beside the tools that are built: containerd, etcd, CNI plugins, buildah and small
# ones. On Debian as root through apt; elsewhere it says what is missing and stops. None of them is started by its package.
set -euo pipefail
"$(dirname "${BASH_SOURCE[0]}")/../harness/install-servers.sh"

declare -A package=(
  [etcd]=etcd-server [containerd]=containerd [runc]=runc [/usr/lib/cni/ptp]=containernetworking-plugins [buildah]=buildah
  [debootstrap]=debootstrap [iptables]=iptables [ipset]=ipset [conntrack]=conntrack [socat]=socat [gcc]=gcc [ip]=iproute2
  [nsenter]=util-linux [psql]=postgresql-client [redis-cli]=redis-tools [unzip]=unzip [ssh-keygen]=openssh-client [/usr/include/stdio.h]=libc6-dev
)
missing=()
for program in "${!package[@]}"; do
  [ -e "$program" ] || command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
[ ${#missing[@]} -eq 0 ] && exit 0
"$(dirname "${BASH_SOURCE[0]}")/../harness/install-packages.sh" "the cluster" "Debian package names" "${missing[@]}"
