import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeCertificates } from './certificates.ts'
import { startControlPlane } from './control-plane.ts'
import { applyCrds } from './crds.ts'
import { loadCaracal, loadPause, loadPostgres, loadPublished } from './images.ts'
import { makeNetwork, removeNetwork } from './network.ts'
import { POD_NETWORK, startContainerd, startDns, startNode } from './node.ts'
import { stopOutside } from './outside.ts'
import { inFolder, place, repository } from './place.ts'
import { startedProcesses, stopProcess, tool } from './processes.ts'
import { startPostgres, startRedis } from './stores.ts'
import { offerVolumes } from './volumes.ts'

const TOOLS = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kube-proxy',
  'kubectl',
  'coredns',
  'helm-4',
  'helm-3',
]

/**
 * Brings the whole cluster up: network, certificates, control plane, node, DNS, volumes, image, definitions of the operators, and the
 * stores outside the pods. What already runs is left alone, so a second call is quick and changes nothing.
 */
export async function startCluster(tell: (step: string) => void = () => {}): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error('the cluster needs root: it makes namespaces, mounts and cgroups')
  execFileSync(join(repository, 'tests/cluster/install-tools.sh'), { stdio: ['ignore', 'inherit', 'inherit'] })
  tell('tools')
  for (const name of TOOLS) tool(name)
  mkdirSync(place.folder, { recursive: true })
  chmodSync(place.folder, 0o755)
  linkTools()
  tell('network, certificates, control plane')
  makeNetwork()
  makeCertificates()
  await Promise.all([startControlPlane(), startContainerd()])
  tell('images')
  loadPause()
  loadCaracal()
  loadPublished()
  loadPostgres()
  tell('node, DNS, volumes')
  await startNode()
  await startDns()
  offerVolumes()
  tell('stores and operator definitions')
  await startPostgres()
  await startRedis()
  applyCrds()
}

/** The tools under their usual names: in `bin` with Helm 4, in `bin-helm-3` with Helm 3. */
function linkTools(): void {
  for (const [folder, helm] of [
    ['bin', 'helm-4'],
    ['bin-helm-3', 'helm-3'],
  ] as const) {
    mkdirSync(inFolder(folder), { recursive: true })
    for (const [name, from] of Object.entries({ kubectl: 'kubectl', helm })) {
      rmSync(inFolder(folder, name), { force: true })
      symlinkSync(tool(from), inFolder(folder, name))
    }
  }
}

/** Ends every process of the cluster and of its pods, unmounts, and removes what was written. Safe to call in any state. */
export async function stopCluster(): Promise<void> {
  // First who would start something again, then the pods, then the rest.
  for (const name of ['kubelet', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy']) await stopProcess(name)
  await endPods()
  for (const name of startedProcesses()) await stopProcess(name, name === 'postgres' ? 'SIGQUIT' : 'SIGTERM')
  await endPods()
  unmount()
  await stopOutside()
  removeNetwork()
  removeCgroups()
  rmSync(place.folder, { recursive: true, force: true })
  removeStrays()
}

type Process = { readonly pid: number; readonly parent: number; readonly command: string }

function processes(): readonly Process[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const parent = readFileSync(`/proc/${pid}/stat`, 'utf8')
          .replace(/^.*\) /s, '')
          .split(' ')[1]
        return [{ pid: Number(pid), parent: Number(parent), command: readFileSync(`/proc/${pid}/cmdline`, 'utf8') }]
      } catch {
        return [] // it ended while we looked
      }
    })
}

/** containerd leaves a shim per pod and their processes behind when it ends; they are known by the socket they were given. */
async function endPods(): Promise<void> {
  for (let tries = 0; tries < 50; tries++) {
    const all = processes()
    const ours = new Set(
      all
        .filter(({ command }) => command.includes('containerd-shim') && command.includes(inFolder('containerd.sock')))
        .map((one) => one.pid),
    )
    for (let before = -1; before !== ours.size; ) {
      before = ours.size
      for (const { pid, parent } of all) if (ours.has(parent)) ours.add(pid)
    }
    if (ours.size === 0) return
    for (const pid of ours) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // it ended with its parent
      }
    }
    await sleep(100)
  }
}

function unmount(): void {
  const mounted = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${place.folder}/`))
  for (const path of mounted.reverse()) execFileSync('umount', ['-l', path], { stdio: 'ignore' })
}

/** Pods had cgroups below `kubepods`; those without a process can go, and all of ours are. */
function removeCgroups(): void {
  const remove = (folder: string): void => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) if (entry.isDirectory()) remove(join(folder, entry.name))
    removeEmpty(folder)
  }
  for (const controller of ['.', ...readdirSync('/sys/fs/cgroup')]) {
    const folder = join('/sys/fs/cgroup', controller, 'kubepods')
    if (existsSync(folder)) remove(folder)
  }
}

/** What programs write to fixed places whatever they are told. */
function removeStrays(): void {
  // What plugins returned for the pods that were running; the loopback's files bear only the pod's id.
  const results = '/var/lib/cni/results'
  const files = existsSync(results) ? readdirSync(results) : []
  const ids = files
    .filter((file) => file.startsWith(`${POD_NETWORK}-`))
    .map((file) => file.slice(POD_NETWORK.length + 1).split('-')[0] ?? '')
  for (const file of files) if (ids.some((id) => file.includes(id))) rmSync(join(results, file))
  const links = '/var/log/containers'
  if (existsSync(links)) {
    for (const file of readdirSync(links)) {
      if (readlinkSync(join(links, file)).startsWith(place.folder)) rmSync(join(links, file))
    }
  }
  const states = '/run/containerd/runc/k8s.io'
  for (const id of existsSync(states) ? readdirSync(states) : []) {
    const state = join(states, id, 'state.json')
    if (existsSync(state) && readFileSync(state, 'utf8').includes(`${place.folder}/`)) rmSync(join(states, id), { recursive: true })
  }
  // A socket that nobody listens on any more is what a process left that was killed.
  const listening = readFileSync('/proc/net/unix', 'utf8')
  for (const folder of ['/run/containerd/s', '/var/lib/kubelet/device-plugins']) {
    for (const entry of existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : []) {
      const path = join(folder, entry.name)
      if (entry.isSocket() && !listening.includes(path)) rmSync(path)
    }
  }
  // Folders that are made whoever asks go when nothing is in them.
  rmSync('/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint', { force: true })
  for (const folder of ['/var/lib/kubelet/device-plugins', '/var/lib/kubelet', '/var/lib/cni/results', '/var/lib/cni', links])
    removeEmpty(folder)
  for (const folder of ['io.containerd.grpc.v1.cri', 'runc/k8s.io', 'runc', 's', '.']) removeEmpty(join('/run/containerd', folder))
}

function removeEmpty(folder: string): void {
  try {
    rmdirSync(folder)
  } catch {
    // not there, or in use by somebody else
  }
}
