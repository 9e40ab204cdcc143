#!/usr/bin/env bash
# The two base images of the Dockerfile from Debian's archive and npm, for machines without a registry: localhost/debian is a plain
# Debian, localhost/debian-npm the same with npm in it. Made once and kept by buildah.
set -euo pipefail
: "${BUILDAH_ISOLATION:=chroot}" "${STORAGE_DRIVER:=vfs}"
export BUILDAH_ISOLATION STORAGE_DRIVER
buildah inspect --type image localhost/debian-npm:1 >/dev/null 2>&1 && exit 0

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "making the base images from Debian's archive and npm (about two minutes, once)" >&2
debootstrap --variant=minbase --include=libatomic1,libstdc++6,ca-certificates bookworm "$folder/root" >"$folder/log" 2>&1 || {
  tail -20 "$folder/log" >&2
  exit 1
}
rm -rf "$folder"/root/var/cache/apt/archives/*.deb "$folder"/root/var/lib/apt/lists/* "$folder"/root/usr/share/{doc,man,locale}

container=$(buildah from scratch)
buildah copy -q "$container" "$folder/root" / >/dev/null
buildah commit -q "$container" localhost/debian:1 >/dev/null
node=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/node_modules/node/bin/node
(cd "$folder" && npm pack --silent npm@11.19.1 >/dev/null && mkdir npm && tar -xzf npm-11.19.1.tgz -C npm --strip-components 1)
buildah copy -q "$container" "$node" /usr/local/bin/node >/dev/null
buildah copy -q "$container" "$folder/npm" /usr/local/lib/npm >/dev/null
buildah run "$container" -- ln -s ../lib/npm/bin/npm-cli.js /usr/local/bin/npm
# Where packages come through a mirror with a certificate of its own, npm in there must trust it as this machine does.
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
  buildah copy -q "$container" /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt >/dev/null
  buildah config --env NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt "$container"
fi
buildah commit -q --rm "$container" localhost/debian-npm:1 >/dev/null
