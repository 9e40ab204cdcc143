import { inFolder, NODE_ADDRESS, POD_RANGE, SERVICE_RANGE } from './place.ts'
import { run, startProcess, tool, until } from './processes.ts'

const flags = (values: Readonly<Record<string, string>>): readonly string[] =>
  Object.entries(values).map(([name, value]) => `--${name}=${value}`)

/** What every API server of the tests is told; where it keeps things and listens differs. */
const apiServerFlags = (values: Readonly<Record<string, string>>): readonly string[] =>
  flags({
    'service-cluster-ip-range': SERVICE_RANGE,
    'advertise-address': NODE_ADDRESS,
    'service-account-issuer': 'https://kubernetes.default.svc',
    'service-account-key-file': inFolder('pki/accounts.pub'),
    'service-account-signing-key-file': inFolder('pki/accounts.key'),
    'client-ca-file': inFolder('pki/ca.crt'),
    'tls-cert-file': inFolder('pki/apiserver.crt'),
    'tls-private-key-file': inFolder('pki/apiserver.key'),
    'authorization-mode': 'Node,RBAC',
    'enable-admission-plugins': 'NodeRestriction',
    // By name it would look for the node in DNS, and there it is not.
    'kubelet-preferred-address-types': 'InternalIP',
    'kubelet-client-certificate': inFolder('pki/admin.crt'),
    'kubelet-client-key': inFolder('pki/admin.key'),
    'kubelet-certificate-authority': inFolder('pki/ca.crt'),
    ...values,
  })

function startEtcd(name: string, port: number): string {
  const [client, peer] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${port + 1}`]
  startProcess(name, [
    'etcd',
    ...flags({
      'data-dir': inFolder(name),
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': `default=${peer}`,
      'auto-compaction-retention': '1',
      'unsafe-no-fsync': 'true',
    }),
  ])
  return client
}

/** The store, the API server, the controllers and the scheduler; resolves when the API is ready. */
export async function startControlPlane(): Promise<void> {
  const etcd = startEtcd('etcd', 2379)
  startProcess('kube-apiserver', [
    tool('kube-apiserver'),
    ...apiServerFlags({ 'etcd-servers': etcd, 'cert-dir': inFolder('pki'), 'allow-privileged': 'true' }),
  ])
  await until('the API server is ready', 120, () => run([tool('kubectl'), 'get', '--raw', '/readyz']) === 'ok')
  const own = (name: string) => ({
    kubeconfig: inFolder(`${name}.conf`),
    'authentication-kubeconfig': inFolder(`${name}.conf`),
    'authorization-kubeconfig': inFolder(`${name}.conf`),
    'leader-elect': 'false',
  })
  startProcess('kube-controller-manager', [
    tool('kube-controller-manager'),
    ...flags({
      ...own('controller-manager'),
      'service-account-private-key-file': inFolder('pki/accounts.key'),
      'root-ca-file': inFolder('pki/ca.crt'),
      'cluster-cidr': POD_RANGE,
      'allocate-node-cidrs': 'true',
      'service-cluster-ip-range': SERVICE_RANGE,
      'use-service-account-credentials': 'true',
      'cert-dir': inFolder('pki'),
    }),
  ])
  startProcess('kube-scheduler', [tool('kube-scheduler'), ...flags(own('scheduler'))])
}

/** The API server of the oldest Kubernetes the chart supports, alone, beside the cluster: https on `port`. */
export async function startOldestApi(port = 16443): Promise<string> {
  const etcd = startEtcd('etcd-oldest', 12379)
  startProcess('kube-apiserver-oldest', [
    tool('kube-apiserver-1.30'),
    ...apiServerFlags({ 'etcd-servers': etcd, 'cert-dir': inFolder('pki'), 'secure-port': String(port) }),
  ])
  const server = `https://127.0.0.1:${port}`
  await until('the oldest API server is ready', 120, () => run([tool('kubectl'), '--server', server, 'get', '--raw', '/readyz']) === 'ok')
  return server
}
