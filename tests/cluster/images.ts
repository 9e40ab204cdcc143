import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { inFolder, repository } from './place.ts'
import { run } from './processes.ts'

export const IMAGE = 'localhost/caracal'

const { appVersion } = parse(readFileSync(join(repository, 'infra/helm/caracal/Chart.yaml'), 'utf8')) as { readonly appVersion: string }
/** What the chart asks a registry for when its values say nothing else; the node has it, and the next one, already. */
export const PUBLISHED = 'ghcr.io/caracal/caracal'
export const PUBLISHED_TAG = appVersion
const BUILDAH = { BUILDAH_ISOLATION: 'chroot', STORAGE_DRIVER: 'vfs' }
const build = (program: string, args: readonly string[], extra: NodeJS.ProcessEnv = {}) =>
  execFileSync(program, args, { cwd: repository, env: { ...process.env, ...BUILDAH, ...extra }, stdio: ['ignore', 'pipe', 'inherit'] })

/** What holds the namespaces of a pod: a program that waits, and nothing beside it. */
const PAUSE = `#include <signal.h>
#include <unistd.h>
static void end(int signal) { _exit(0); }
int main(void) { signal(SIGTERM, end); signal(SIGINT, end); for (;;) pause(); }
`

/** Hands an image of the local store to the cluster's containerd, under the names given. */
function load(image: string, names: readonly string[]): void {
  const folder = mkdtempSync(inFolder('image-'))
  const archive = join(folder, 'image.tar')
  try {
    build('buildah', ['push', '-q', image, `docker-archive:${archive}:${image}`])
    ctr('image', 'import', archive)
    for (const name of names) if (name !== image) ctr('image', 'tag', '--force', image, name)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const ctr = (...args: readonly string[]): string =>
  run(['ctr', '--address', inFolder('containerd.sock'), '--namespace', 'k8s.io', ...args], { timeoutSeconds: 600 })

const present = (name: string): boolean => ctr('image', 'list', '-q').split('\n').includes(name)

export function loadPause(): void {
  const name = 'localhost/pause:1'
  if (present(name)) return
  const folder = mkdtempSync(inFolder('pause-'))
  writeFileSync(join(folder, 'pause.c'), PAUSE)
  writeFileSync(join(folder, 'Dockerfile'), 'FROM scratch\nCOPY pause /pause\nENTRYPOINT ["/pause"]\n')
  execFileSync('gcc', ['-static', '-Os', '-o', join(folder, 'pause'), join(folder, 'pause.c')])
  build('buildah', ['build', '-q', '--tag', name, folder])
  load(name, [name])
  rmSync(folder, { recursive: true, force: true })
}

/** Builds the image from the work tree, and loads it as `dev` and as `next`, what an upgrade goes to. */
export function loadCaracal(): void {
  if (present(`${IMAGE}:dev`) && process.env.CARACAL_CLUSTER_IMAGE !== 'rebuild') return
  const image = `${IMAGE}:dev`
  if (!existsSync('/usr/bin/buildah')) throw new Error('buildah is missing: tests/cluster/install-tools.sh installs it')
  build(join(repository, 'tests/cluster/base-images.sh'), [])
  build(join(repository, 'infra/docker/build-image.sh'), [], {
    IMAGE: image,
    BUILDER: 'buildah',
    BASE: 'localhost/debian:1',
    PACKAGES_BASE: 'localhost/debian-npm:1',
  })
  load(image, [image, `${IMAGE}:next`])
}

/**
 * The same image under the name that the chart has for it. Elsewhere the certificates of managed stores come from authorities that
 * everybody trusts; here they come from the cluster's own, so this image counts that among them.
 */
export function loadPublished(): void {
  const name = `${PUBLISHED}:${PUBLISHED_TAG}`
  if (present(name) && process.env.CARACAL_CLUSTER_IMAGE !== 'rebuild') return
  const folder = mkdtempSync(inFolder('published-'))
  const file = '/etc/ssl/everybody.crt'
  copyFileSync(inFolder('pki/ca.crt'), join(folder, 'ca.crt'))
  writeFileSync(join(folder, 'Dockerfile'), `FROM ${IMAGE}:dev\nCOPY --chmod=444 ca.crt ${file}\nENV NODE_EXTRA_CA_CERTS=${file}\n`)
  build('buildah', ['build', '-q', '--tag', name, folder])
  load(name, [name, `${PUBLISHED}:next`])
  rmSync(folder, { recursive: true, force: true })
}

/** The Postgres of the dev overlay, which elsewhere comes from a registry. */
export function loadPostgres(): void {
  const name = 'localhost/postgres:1'
  if (present(name)) return
  build(join(repository, 'tests/cluster/base-images.sh'), [])
  build('buildah', ['build', '-q', '--tag', name, join(repository, 'tests/cluster/postgres-image')])
  load(name, [name])
}
