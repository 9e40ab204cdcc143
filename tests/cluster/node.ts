import { mkdirSync, writeFileSync } from 'node:fs'
import { DNS_SERVICE, inFolder, NODE_ADDRESS, NODE_NAME, POD_RANGE, POSTGRES_HOST, REDIS_HOST } from './place.ts'
import { run, startProcess, tool, until } from './processes.ts'
import { shareProcessors, withProcessors } from './processors.ts'

/** Names of what the node leaves outside its folder, so that it can be found again at the end. */
export const POD_NETWORK = 'caracal-cluster-pods'

const containerdConfig = () => `version = 2
root = "${inFolder('containerd/root')}"
state = "${inFolder('containerd/state')}"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "${inFolder('containerd.sock')}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${inFolder('cni')}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`

const podNetwork = () => ({
  cniVersion: '0.4.0',
  name: POD_NETWORK,
  plugins: [
    {
      type: 'ptp',
      ipMasq: false,
      ipam: {
        type: 'host-local',
        subnet: POD_RANGE.replace('/16', '/24'),
        dataDir: inFolder('cni-addresses'),
        routes: [{ dst: '0.0.0.0/0' }],
      },
    },
    { type: 'portmap', capabilities: { portMappings: true } },
  ],
})

const kubeletConfig = () => ({
  apiVersion: 'kubelet.config.k8s.io/v1beta1',
  kind: 'KubeletConfiguration',
  authentication: { anonymous: { enabled: false }, webhook: { enabled: false }, x509: { clientCAFile: inFolder('pki/ca.crt') } },
  authorization: { mode: 'AlwaysAllow' },
  cgroupDriver: 'cgroupfs',
  failCgroupV1: false,
  failSwapOn: false,
  containerRuntimeEndpoint: `unix://${inFolder('containerd.sock')}`,
  tlsCertFile: inFolder('pki/node.crt'),
  tlsPrivateKeyFile: inFolder('pki/node.key'),
  clusterDNS: [DNS_SERVICE],
  clusterDomain: 'cluster.local',
  resolvConf: inFolder('resolv.conf'),
  podLogsDir: inFolder('pod-logs'),
  evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '1%', 'imagefs.available': '1%', 'nodefs.inodesFree': '1%' },
  imageGCHighThresholdPercent: 100,
  localStorageCapacityIsolation: false,
  enforceNodeAllocatable: [],
  // Secrets that change reach their pods within seconds: a test waits for that.
  syncFrequency: '10s',
  maxPods: 200,
})

export async function startContainerd(): Promise<void> {
  for (const folder of ['cni', 'pod-logs', 'home', 'kubelet']) mkdirSync(inFolder(folder), { recursive: true })
  writeFileSync(inFolder('containerd.toml'), containerdConfig())
  writeFileSync(inFolder('cni/10-pods.conflist'), JSON.stringify(podNetwork()))
  writeFileSync(inFolder('kubelet.yaml'), JSON.stringify(kubeletConfig()))
  writeFileSync(inFolder('resolv.conf'), `nameserver ${DNS_SERVICE}\n`)
  startProcess('containerd', ['containerd', '--config', inFolder('containerd.toml')])
  await until('containerd answers', 60, () => run(['ctr', '--address', inFolder('containerd.sock'), 'version']) !== '')
}

export async function startNode(): Promise<void> {
  const kubelet = [
    tool('kubelet'),
    `--config=${inFolder('kubelet.yaml')}`,
    `--kubeconfig=${inFolder('node.conf')}`,
    `--hostname-override=${NODE_NAME}`,
    `--node-ip=${NODE_ADDRESS}`,
    `--root-dir=${inFolder('kubelet')}`,
    `--cert-dir=${inFolder('pki')}`,
    '--node-labels=topology.kubernetes.io/zone=zone-1,topology.kubernetes.io/region=region-1',
  ]
  startProcess('kubelet', withProcessors(kubelet))
  startProcess('kube-proxy', [
    tool('kube-proxy'),
    `--kubeconfig=${inFolder('proxy.conf')}`,
    `--hostname-override=${NODE_NAME}`,
    `--cluster-cidr=${POD_RANGE}`,
    '--proxy-mode=iptables',
    '--conntrack-max-per-core=0',
    '--conntrack-tcp-timeout-established=0s',
    '--conntrack-tcp-timeout-close-wait=0s',
  ])
  await until('the node is Ready', 120, () =>
    run([tool('kubectl'), 'get', 'node', NODE_NAME, '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].status}']).includes('True'),
  )
  shareProcessors()
}

const corefile = () => `.:53 {
  bind ${NODE_ADDRESS}
  errors
  hosts {
    ${NODE_ADDRESS} ${POSTGRES_HOST} ${REDIS_HOST} upstream.stores.test
    fallthrough
  }
  kubernetes cluster.local {
    kubeconfig ${inFolder('dns.conf')}
  }
  ready 127.0.0.1:8181
}
`

const DNS_PORTS = [
  { name: 'dns', port: 53, protocol: 'UDP' },
  { name: 'dns-tcp', port: 53, protocol: 'TCP' },
]

/** The Service that every cluster has leads to this address: the node's, where CoreDNS runs, or that of a pod. */
export function serveNamesFrom(address: string): void {
  const objects = [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'kube-dns', namespace: 'kube-system' },
      spec: { clusterIP: DNS_SERVICE, ports: DNS_PORTS },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'kube-dns-node', namespace: 'kube-system', labels: { 'kubernetes.io/service-name': 'kube-dns' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: [address], conditions: { ready: true } }],
      ports: DNS_PORTS,
    },
  ]
  for (const object of objects) run([tool('kubectl'), 'apply', '-f', '-'], { input: JSON.stringify(object) })
}

/** CoreDNS runs on the node; pods reach it through the Service that every cluster has. */
export async function startDns(): Promise<void> {
  writeFileSync(inFolder('Corefile'), corefile())
  startProcess('coredns', [tool('coredns'), '-conf', inFolder('Corefile')])
  serveNamesFrom(NODE_ADDRESS)
  await until('DNS answers', 60, () => run(['curl', '-fsS', 'http://127.0.0.1:8181/ready']).includes('OK'))
}
