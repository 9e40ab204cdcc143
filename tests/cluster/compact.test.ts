import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { kubectl, NAMESPACE, pods, remove } from './installation.ts'
import { inFolder, LOAD_BALANCER, repository } from './place.ts'
import { environment, inNetwork, run, tool } from './processes.ts'
import { offerVolumes } from './volumes.ts'

/** The document's whole sequence, in its own words, in a copy of infra/kubernetes whose images are those of this node. */
const folder = mkdtempSync(inFolder('compact-'))
/** A line of the document, run in the folder. */
const shell = (line: string, seconds = 400): string =>
  run(['bash', '-c', `cd ${folder}; set -euo pipefail; PATH=${inFolder('bin')}:${join(repository, 'node_modules/.bin')}:$PATH; ${line}`], {
    timeoutSeconds: seconds,
  })
const PASSWORD = 'pass/word+with=all-of-them-0123456789'
const ready = (component: string) => pods().filter((pod) => pod.component === component && pod.ready && !pod.ending).length

/** Does `work` while a port is forwarded. */
async function forwarded<T>(what: string, ports: string, work: () => Promise<T> | T): Promise<T> {
  const [program = '', ...args] = inNetwork([tool('kubectl'), 'port-forward', '-n', NAMESPACE, what, ports])
  const child = spawn(program, args, { env: environment(), stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise<void>((resolve) => child.stdout.once('data', () => resolve()))
  try {
    return await work()
  } finally {
    child.kill('SIGTERM')
  }
}
const DB = `export DB_HOST=localhost DB_PORT=5432 DB_NAME=caracal DB_USER=caracal DB_PASSWORD='${PASSWORD}'`

beforeAll(() => {
  remove()
  offerVolumes()
  cpSync(join(repository, 'infra/kubernetes'), folder, { recursive: true })
  for (const file of [
    'postgres-statefulset.yaml',
    'gateway-deployment.yaml',
    'mcp-adapter-deployment.yaml',
    'backup-cronjob.yaml',
    'secret.yaml',
  ]) {
    const text = readFileSync(join(folder, file), 'utf8')
      .replaceAll(/docker\.io\/library\/postgres:\S+/g, 'localhost/postgres:1')
      .replaceAll(/ghcr\.io\/caracal\/caracal:\S+/g, 'localhost/caracal:dev')
      // A node of two cores: requests are smaller, nothing else.
      .replaceAll(/cpu: (?:250|500)m/g, 'cpu: 10m')
      .replace(/DB_PASSWORD: \S+/, `DB_PASSWORD: ${Buffer.from(PASSWORD).toString('base64')}`)
    writeFileSync(join(folder, file), text)
  }
})
afterAll(() => {
  kubectl('delete', 'namespace', NAMESPACE, '--ignore-not-found', '--wait', '--timeout=180s')
  rmSync(folder, { recursive: true, force: true })
})

test('[4-06] [4-08] certificates and their Secret, by the commands of the document', () => {
  shell('kubectl apply -f namespace.yaml')
  shell('mkdir -p certs')
  shell('openssl req -x509 -newkey rsa:4096 -keyout certs/server.key -out certs/server.crt -days 365 -nodes -subj "/CN=caracal-gateway"')
  shell('openssl req -x509 -newkey rsa:4096 -keyout certs/ca.key -out certs/ca.crt -days 365 -nodes -subj "/CN=caracal-ca"')
  shell(
    'ssh-keygen -t rsa -b 4096 -m PEM -f certs/jwt_private.pem -N ""; openssl rsa -in certs/jwt_private.pem -pubout -out certs/jwt_public.pem',
  )
  shell(`kubectl create secret generic caracal-tls --from-file=server.crt=certs/server.crt --from-file=server.key=certs/server.key \
    --from-file=ca.crt=certs/ca.crt --from-file=jwt_public.pem=certs/jwt_public.pem --namespace=caracal --dry-run=client -o yaml > tls-secret-generated.yaml`)
  shell('kubectl apply -f tls-secret-generated.yaml')
})

test('[4-10] [4-30] applied in order, everything becomes Ready under the restricted standard, and a second time nothing changes', async () => {
  for (const file of ['namespace', 'configmap', 'secret', 'postgres-statefulset']) shell(`kubectl apply -f ${file}.yaml`)
  shell('kubectl wait --for=condition=ready pod -l app.kubernetes.io/component=database -n caracal --timeout=300s')
  for (const file of ['gateway-deployment', 'mcp-adapter-deployment']) shell(`kubectl apply -f ${file}.yaml`)
  await expect.poll(() => [ready('gateway'), ready('mcp-adapter'), ready('database')], { timeout: 240_000 }).toEqual([2, 2, 1])
  const generations = () => kubectl('-n', NAMESPACE, 'get', 'statefulset,deploy', '-o', 'jsonpath={.items[*].metadata.generation}')
  const before = generations()
  const core = ['configmap', 'secret', 'postgres-statefulset', 'gateway-deployment', 'mcp-adapter-deployment']
  const again = shell(`kubectl apply ${core.map((file) => `-f ${file}.yaml`).join(' ')}`)
  // kubectl writes 2000m where Kubernetes has written 2, and calls that configured.
  expect(again.replaceAll(/^\S*(?:statefulset|deployment)\.apps\S* configured$/gm, '')).not.toMatch(/configured|created/)
  expect(generations()).toBe(before)
  // Nobody was restarted while others were awaited.
  expect(kubectl('-n', NAMESPACE, 'get', 'pods', '-o', 'jsonpath={.items[*].status.containerStatuses[0].restartCount}')).toMatch(/^0( 0)*$/)
})

test('[4-11] [4-12] [4-25] pods, Services, logs by label, health without a credential', async () => {
  expect(shell('kubectl get svc -n caracal')).toMatch(/caracal-gateway[\s\S]*caracal-mcp-adapter[\s\S]*caracal-postgres/)
  for (const component of ['gateway', 'mcp-adapter'])
    expect(shell(`kubectl logs -n caracal -l app.kubernetes.io/component=${component} --tail=50`)).toContain('listening')
  expect(shell('timeout 5 kubectl logs -n caracal -l app.kubernetes.io/name=caracal -f --all-containers || [ $? = 124 ]')).not.toContain(
    'max-log-requests',
  )
  // What a cloud does: the Service gets an address. kube-proxy takes it from there.
  const status = { status: { loadBalancer: { ingress: [{ ip: LOAD_BALANCER }] } } }
  kubectl('-n', NAMESPACE, 'patch', 'svc', 'caracal-gateway', '--subresource=status', '--type=merge', '-p', JSON.stringify(status))
  const address = "GATEWAY_IP=$(kubectl get svc caracal-gateway -n caracal -o jsonpath='{.status.loadBalancer.ingress[0].ip}')"
  await expect
    .poll(() => shell(`${address}; curl -m 5 -k -s https://$GATEWAY_IP:8443/health`), { timeout: 60_000 })
    .toContain('"status":"ok"')
})

test('[4-20] scaled to five Gateways and three adapters, all are Ready', async () => {
  shell('kubectl scale deployment caracal-gateway -n caracal --replicas=5')
  shell('kubectl scale deployment caracal-mcp-adapter -n caracal --replicas=3')
  await expect.poll(() => [ready('gateway'), ready('mcp-adapter')], { timeout: 240_000 }).toEqual([5, 3])
})

test('[4-26] [4-28] schema commands and psql through a forwarded port', async () => {
  await forwarded('svc/caracal-postgres', '5432:5432', () => {
    for (const command of ['caracal db init', 'caracal db migrate up', 'caracal db migrate up', 'caracal db init'])
      shell(`${DB}; ${command}`)
  })
})

test('[4-27] [4-36] backup, an emptied database, restore: it serves again once it was told', async () => {
  expect(
    shell('kubectl exec -n caracal deploy/caracal-gateway -- caracal token create admin --role admin --days 1 --database').trim(),
  ).toMatch(/^cat_/)
  shell('kubectl exec -n caracal caracal-postgres-0 -- pg_dump -U caracal caracal > caracal-backup-20260202.sql')
  shell('kubectl scale deployment caracal-gateway caracal-mcp-adapter -n caracal --replicas=0')
  await expect.poll(() => pods().filter(({ component }) => component !== 'database').length, { timeout: 120_000 }).toBe(0)
  shell(
    "kubectl exec -n caracal caracal-postgres-0 -- psql -U caracal -d postgres -c 'DROP DATABASE caracal WITH (FORCE)' -c 'CREATE DATABASE caracal'",
  )
  shell('kubectl exec -i -n caracal caracal-postgres-0 -- psql -U caracal caracal < caracal-backup-20260202.sql')
  await forwarded('svc/caracal-postgres', '5432:5432', () => {
    expect(shell(`${DB}; caracal ledger restored`)).toContain('retired')
  })
  shell('kubectl scale deployment caracal-gateway caracal-mcp-adapter -n caracal --replicas=2')
  await expect.poll(() => [ready('gateway'), ready('mcp-adapter')], { timeout: 240_000 }).toEqual([2, 2])
})

test('[4-32] what the troubleshooting asks is answered', () => {
  expect(shell('kubectl exec -n caracal caracal-postgres-0 -- pg_isready -U caracal')).toContain('accepting connections')
  expect(shell("kubectl get secret caracal-secrets -n caracal -o jsonpath='{.data.DB_PASSWORD}' | base64 -d")).toBe(PASSWORD)
  expect(
    shell("kubectl get secret caracal-tls -n caracal -o jsonpath='{.data.server\\.crt}' | base64 -d | openssl x509 -enddate -noout"),
  ).toContain('notAfter=')
  shell('kubectl describe svc caracal-gateway -n caracal')
  shell("kubectl get events -n caracal --sort-by='.lastTimestamp'")
})

test('[4-33] [4-35] [4-39] what is optional is taken', () => {
  for (const file of ['hpa', 'pdb', 'ingress', 'networkpolicy', 'servicemonitor', 'prometheusrule', 'backup-cronjob'])
    shell(`kubectl apply -f ${file}.yaml`)
  shell('kubectl apply -k nodeport')
})

test('[4-34] removed in reverse, nothing is left', () => {
  for (const file of ['mcp-adapter-deployment', 'gateway-deployment', 'postgres-statefulset', 'secret', 'configmap', 'namespace'])
    shell(`kubectl delete -f ${file}.yaml`)
  expect(kubectl('get', 'namespace', NAMESPACE, '--ignore-not-found')).toBe('')
})
