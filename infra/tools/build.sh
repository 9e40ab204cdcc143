#!/usr/bin/env bash
# Builds one of the tools the deployment is tested with, once per version, outside the work tree, and prints its path.
#   infra/tools/build.sh helm-4          prints the path of Helm 4
#   infra/tools/build.sh kubelet kubectl builds several, one path per line
# The version is what the go.mod of infra/tools/<module> pins; go.sum holds what may be downloaded for it.
# Installs Go from the distribution when there is none (Debian as root); elsewhere it says what is missing and stops.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

kubernetes="kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl"
[ $# -gt 0 ] || {
  echo "usage: $0 helm-4 | helm-3 | kubeconform | coredns | external-secrets | helm-diff | kube-apiserver-1.30 | ${kubernetes// / | }" >&2
  exit 2
}

# Which module of this folder builds a tool, from which package.
of() {
  case $1 in
  helm-4) echo helm-4 helm.sh/helm/v4 cmd/helm ;;
  helm-3) echo helm-3 helm.sh/helm/v3 cmd/helm ;;
  helm-diff) echo helm-diff github.com/databus23/helm-diff/v3 . ;;
  kubeconform) echo kubeconform github.com/yannh/kubeconform cmd/kubeconform ;;
  coredns) echo coredns github.com/coredns/coredns . ;;
  external-secrets) echo external-secrets github.com/external-secrets/external-secrets . ;;
  kube-apiserver-1.30) echo kubernetes-1.30 k8s.io/kubernetes cmd/kube-apiserver ;;
  *)
    case " $kubernetes " in
    *" $1 "*) echo kubernetes k8s.io/kubernetes "cmd/$1" ;;
    *)
      echo "no tool is named $1" >&2
      exit 2
      ;;
    esac
    ;;
  esac
}

install_go() {
  command -v go >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing golang-go" >&2
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends golang-go ca-certificates >/dev/null
  else
    echo "missing: Go (Debian: golang-go; macOS: brew install go)" >&2
    exit 1
  fi
}

build() {
  local tool=$1 module path package version program part flags
  read -r module path package < <(of "$tool")
  version=$(awk -v path="$path" '$1 == path { print $2; exit } $1 == "require" && $2 == path { print $3; exit }' "$module/go.mod")
  program=${XDG_CACHE_HOME:-$HOME/.cache}/caracal/$tool-$version-$(uname -sm | tr ' ' -)
  if [ ! -x "$program" ]; then
    install_go
    echo "building $tool $version" >&2
    # Two that want the same program wait for each other; what is there then is taken.
    mkdir -p "$(dirname "$program")"
    exec 9>"$program.lock"
    flock 9
    if [ ! -x "$program" ]; then
      flags="-s -w -X $path/internal/version.version=$version"
      if [ "$path" = k8s.io/kubernetes ]; then
        # The servers and kubectl say which release they are; without it they answer 0.0.0 and charts refuse them.
        for package_with_version in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
          flags+=" -X $package_with_version.gitVersion=$version -X $package_with_version.gitTreeState=clean"
          flags+=" -X $package_with_version.gitMajor=1 -X $package_with_version.gitMinor=$(cut -d. -f2 <<<"$version")"
        done
      fi
      if [ "$path" = helm.sh/helm/v3 ]; then
        # As its makers do: the Kubernetes release it assumes without a cluster is that of its client library, not 1.20.
        for package_with_version in pkg/chartutil pkg/lint/rules; do
          flags+=" -X $path/$package_with_version.k8sVersionMajor=1"
          flags+=" -X $path/$package_with_version.k8sVersionMinor=$(awk '$1 == "k8s.io/client-go" { split($2, part, "."); print part[2]; exit }' "$module/go.mod")"
        done
      fi
      part=$(mktemp "$program.XXXXXX")
      source=
      if [ -d "$module/source" ]; then
        # Built within its own module (its go.mod and go.sum), with some files of it replaced by ours.
        source=$(mktemp -d)
        (cd "$module" && GOWORK=off go mod download "$path")
        cp -r "$(cd "$module" && GOWORK=off go list -m -f '{{.Dir}}' "$path")/." "$source"
        chmod -R u+w "$source"
        cp -r "$module/source/." "$source"
      fi
      (cd "${source:-$module}" && CGO_ENABLED=0 GOWORK=off GOFLAGS="-mod=readonly -trimpath -buildvcs=false" \
        go build -ldflags "$flags" -o "$part" "$path/${package#.}" 2>&1 | grep -v '^go: downloading' >&2 || true
        [ -s "$part" ]) || {
        rm -rf "$part" "$source"
        echo "$tool could not be built" >&2
        exit 1
      }
      rm -rf "$source"
      chmod 755 "$part"
      mv "$part" "$program"
    fi
    exec 9>&-
    rm -f "$program.lock"
  fi
  echo "$program"
}

for tool in "$@"; do build "$tool"; done
