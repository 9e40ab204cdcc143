import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inFolder, repository } from './place.ts'
import { run, startProcess, stopProcess, tool, until } from './processes.ts'

export const SECRET_MANAGER_PORT = 18_200
const HEALTH_PORT = 18_202

export type Holdings = {
  /** Who may take which role. */
  readonly roles: Readonly<Record<string, string>>
  readonly secrets: Readonly<Record<string, string>>
}

/** What the secret manager holds from now on, and who may read it. */
export const hold = (holdings: Holdings): void => writeFileSync(inFolder('secret-manager.json'), JSON.stringify(holdings), { mode: 0o600 })

/** The External Secrets Operator, and the secret manager it reads. */
export async function startExternalSecrets(): Promise<void> {
  startProcess('secret-manager', [process.execPath, join(repository, 'tests/cluster/secret-manager-server.ts')])
  const endpoint = `http://127.0.0.1:${SECRET_MANAGER_PORT}`
  startProcess('external-secrets', [
    ...['env', `KUBECONFIG=${inFolder('admin.conf')}`, `AWS_STS_ENDPOINT=${endpoint}`, `AWS_SECRETSMANAGER_ENDPOINT=${endpoint}`],
    tool('external-secrets'),
    // Of its kinds the ones that are used have their definitions here.
    ...['cluster-store', 'cluster-external-secret', 'cluster-push-secret', 'push-secret'].map(
      (name) => `--enable-${name}-reconciler=false`,
    ),
    ...['--metrics-addr=127.0.0.1:18201', `--live-addr=127.0.0.1:${HEALTH_PORT}`, '--store-requeue-interval=2s'],
  ])
  await until('the operator is up', 60, () => run(['curl', '-fsS', `http://127.0.0.1:${HEALTH_PORT}/healthz`]) === 'ok')
}

export async function stopExternalSecrets(): Promise<void> {
  for (const name of ['external-secrets', 'secret-manager']) await stopProcess(name)
}
