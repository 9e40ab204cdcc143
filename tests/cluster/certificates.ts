import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { inFolder, NODE_ADDRESS, NODE_NAME, POSTGRES_HOST, REDIS_HOST } from './place.ts'

const API_NAMES = ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'localhost'].map((name) => `DNS:${name}`)

/** Who there is: subject and, for servers, the names. The organisation is what Kubernetes takes for the group. */
const IDENTITIES: Readonly<Record<string, { subject: string; names?: string }>> = {
  apiserver: { subject: '/CN=kube-apiserver', names: [...API_NAMES, 'IP:127.0.0.1', `IP:${NODE_ADDRESS}`, 'IP:10.96.0.1'].join(',') },
  admin: { subject: '/O=system:masters/CN=admin' },
  'controller-manager': { subject: '/CN=system:kube-controller-manager' },
  scheduler: { subject: '/CN=system:kube-scheduler' },
  node: { subject: `/O=system:nodes/CN=system:node:${NODE_NAME}`, names: `DNS:${NODE_NAME},IP:${NODE_ADDRESS}` },
  proxy: { subject: '/CN=system:kube-proxy' },
  dns: { subject: '/O=system:masters/CN=dns' },
  postgres: { subject: `/CN=${POSTGRES_HOST}`, names: `DNS:${POSTGRES_HOST}` },
  redis: { subject: `/CN=${REDIS_HOST}`, names: `DNS:${REDIS_HOST}` },
}

/** Makes the authority and every certificate in `pki/`, and a kubeconfig for each client. What is there stays. */
export function makeCertificates(): void {
  if (existsSync(inFolder('pki/done'))) return
  mkdirSync(inFolder('pki'), { recursive: true, mode: 0o755 })
  const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { cwd: inFolder('pki'), stdio: 'pipe' })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=cluster authority', '-days', '30')
  for (const [name, { subject, names }] of Object.entries(IDENTITIES)) {
    openssl('req', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', subject)
    const lines = ['extendedKeyUsage=serverAuth,clientAuth', ...(names === undefined ? [] : [`subjectAltName=${names}`])]
    writeFileSync(inFolder('pki', `${name}.ext`), lines.join('\n'))
    const ca = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '30']
    openssl('x509', '-req', '-in', `${name}.csr`, ...ca, '-out', `${name}.crt`, '-extfile', `${name}.ext`)
  }
  openssl('genrsa', '-out', 'accounts.key', '2048')
  openssl('rsa', '-in', 'accounts.key', '-pubout', '-out', 'accounts.pub')
  for (const user of ['admin', 'controller-manager', 'scheduler', 'node', 'proxy', 'dns']) writeKubeconfig(user)
  writeFileSync(inFolder('pki/done'), '')
}

function writeKubeconfig(user: string): void {
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'caracal-cluster',
    contexts: [{ name: 'caracal-cluster', context: { cluster: 'caracal-cluster', user } }],
    clusters: [{ name: 'caracal-cluster', cluster: { server: 'https://127.0.0.1:6443', 'certificate-authority': inFolder('pki/ca.crt') } }],
    users: [{ name: user, user: { 'client-certificate': inFolder(`pki/${user}.crt`), 'client-key': inFolder(`pki/${user}.key`) } }],
  }
  writeFileSync(inFolder(`${user}.conf`), JSON.stringify(config), { mode: 0o600 })
}
