#!/usr/bin/env bash
# Builds the image with docker, podman or buildah, whichever works here, and prints its name.
#   IMAGE=registry/caracal:tag   the name (default localhost/caracal:dev)
#   BASE, PACKAGES_BASE          other base images, e.g. a mirror or local ones (see the Dockerfile)
#   BUILDER                      docker, podman or buildah instead of the first that works
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

image=${IMAGE:-localhost/caracal:dev}
arguments=(--file infra/docker/Dockerfile --tag "$image")
[ -z "${BASE:-}" ] || arguments+=(--build-arg "BASE=$BASE")
[ -z "${PACKAGES_BASE:-}" ] || arguments+=(--build-arg "PACKAGES_BASE=$PACKAGES_BASE")

works() { # a client without its server does not count
  case $1 in
  docker) docker info >/dev/null 2>&1 ;;
  podman) podman info >/dev/null 2>&1 ;;
  buildah) command -v buildah >/dev/null ;;
  esac
}

builder=${BUILDER:-}
for candidate in docker podman buildah; do
  [ -n "$builder" ] || ! works "$candidate" || builder=$candidate
done

case $builder in
docker) docker build "${arguments[@]}" . >&2 ;;
podman) podman build --layers --ignorefile infra/docker/Dockerfile.dockerignore "${arguments[@]}" . >&2 ;;
buildah) buildah build --ignorefile infra/docker/Dockerfile.dockerignore "${arguments[@]}" . >&2 ;;
*)
  echo "missing: docker, podman or buildah, one that works (Debian: buildah)" >&2
  exit 1
  ;;
esac
echo "$image"
