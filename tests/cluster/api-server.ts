import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '@caracal/harness'
import { repository } from './place.ts'
import { tool, until } from './processes.ts'

/** An API server without a node: objects are kept and checked for real, and their status is what a test says. */
export type ApiServer = {
  readonly folder: string
  readonly environment: Readonly<Record<string, string>>
  kubectl(args: readonly string[], input?: string): string
  /** Makes an object or changes it; its status too, where it has one. */
  apply(object: object): void
  stop(): Promise<void>
}

const TOKEN = 'operator'

/** Starts etcd and the API server on loopback; resolves when it is ready. */
export async function startApiServer(): Promise<ApiServer> {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-api-server-'))
  const [store, peer, secure] = [await freePort(), await freePort(), await freePort()]
  const at = (port: number) => `http://127.0.0.1:${port}`
  const inside = (name: string) => join(folder, name)
  execFileSync('openssl', ['genrsa', '-out', inside('accounts.key'), '2048'], { stdio: 'ignore' })
  writeFileSync(inside('tokens.csv'), `${TOKEN},operator,operator,"system:masters"\n`, { mode: 0o600 })
  writeFileSync(inside('config'), JSON.stringify(kubeconfig(`https://127.0.0.1:${secure}`)), { mode: 0o600 })
  const started: ChildProcess[] = []
  const start = (program: string, flags: Readonly<Record<string, string>>) => {
    const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`)
    started.push(spawn(program, args, { cwd: folder, stdio: 'ignore' }))
  }
  start('etcd', {
    'data-dir': inside('etcd'),
    'listen-client-urls': at(store),
    'advertise-client-urls': at(store),
    'listen-peer-urls': at(peer),
    'initial-advertise-peer-urls': at(peer),
    'initial-cluster': `default=${at(peer)}`,
    'unsafe-no-fsync': 'true',
  })
  start(tool('kube-apiserver'), {
    'etcd-servers': at(store),
    'cert-dir': inside('pki'),
    'bind-address': '127.0.0.1',
    'secure-port': String(secure),
    'token-auth-file': inside('tokens.csv'),
    'authorization-mode': 'RBAC',
    'service-account-issuer': 'https://kubernetes.default.svc',
    'service-account-key-file': inside('accounts.key'),
    'service-account-signing-key-file': inside('accounts.key'),
    // Nobody makes service accounts here.
    'disable-admission-plugins': 'ServiceAccount',
  })
  const environment = { KUBECONFIG: inside('config'), KUBECTL: tool('kubectl'), HELM: tool('helm-4') }
  const kubectl = (args: readonly string[], input = '') =>
    execFileSync(environment.KUBECTL, args, {
      encoding: 'utf8',
      input,
      stdio: 'pipe',
      cwd: repository,
      env: { ...process.env, ...environment },
    })
  const stop = async () => {
    for (const one of started.reverse()) {
      if (one.exitCode !== null || one.signalCode !== null) continue
      one.kill('SIGKILL')
      await once(one, 'exit')
    }
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await until('the API server is ready', 120, () => kubectl(['get', '--raw', '/readyz']) === 'ok')
  } catch (error) {
    await stop()
    throw error
  }
  return {
    folder,
    environment,
    kubectl,
    apply(object) {
      const apply = ['apply', '--server-side', '--force-conflicts', '-f', '-']
      kubectl(apply, JSON.stringify(object))
      if ('status' in object) kubectl([...apply, '--subresource=status'], JSON.stringify(object))
    },
    stop,
  }
}

function kubeconfig(server: string) {
  return {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'operator' } }],
    clusters: [{ name: 'test', cluster: { server, 'insecure-skip-tls-verify': true } }],
    users: [{ name: 'operator', user: { token: TOKEN } }],
  }
}
