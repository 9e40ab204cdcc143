import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { inFolder } from './place.ts'

/** What the node says it has, unless the machine has more: enough for what production asks for, while it is upgraded too. */
const PROCESSORS = 8
const LISTED = '/sys/devices/system/cpu'

/**
 * The kubelet in a mount namespace of its own, in which /sys lists eight processors. How many are listed is what it tells of the node, and
 * the scheduler places pods by what they ask for of these. Those that the machine does not have are listed as processors that are not
 * online are: nothing is bound to them, and the work is done by the ones that are there. What the kubelet mounts for pods is seen by
 * containerd outside: its own folder is shared between the two namespaces, and /sys is not.
 */
export function withProcessors(kubelet: readonly string[]): readonly string[] {
  const processors = inFolder('processors')
  const real = readdirSync(LISTED).filter((name) => /^cpu\d+$/.test(name))
  for (const name of real) {
    mkdirSync(`${processors}/${name}/topology`, { recursive: true })
    for (const file of ['core_id', 'physical_package_id']) writeTopology(name, file)
  }
  for (let index = 0; index < PROCESSORS; index += 1) mkdirSync(`${processors}/cpu${index}`, { recursive: true })
  writeFileSync(`${processors}/online`, readFileSync(`${LISTED}/online`))
  // Without a list of memory nodes it counts what is listed as processors.
  mkdirSync(inFolder('no-memory-nodes'), { recursive: true })
  const own = inFolder('kubelet')
  const prepare = [
    'set -e',
    `mountpoint -q ${own} || mount --bind ${own} ${own}`,
    `mount --make-shared ${own}`,
    // The rest runs inside; the process stays the same one.
    'exec unshare --mount --propagation unchanged bash -c "$0" "$@"',
  ].join('\n')
  const inside = [
    'set -e',
    'mount --make-private /sys',
    `if [ -d /sys/devices/system/node ]; then mount --bind ${inFolder('no-memory-nodes')} /sys/devices/system/node; fi`,
    `mount --bind ${processors} ${LISTED}`,
    'exec "$0" "$@"',
  ].join('\n')
  return ['bash', '-c', prepare, inside, ...kubelet]
}

function writeTopology(name: string, file: string): void {
  const known = `${LISTED}/${name}/topology/${file}`
  if (existsSync(known)) writeFileSync(inFolder('processors', name, 'topology', file), readFileSync(known))
}

/** Pods compete with the control plane and the stores for the processors there are, as on a node that lists these: not for eight. */
export function shareProcessors(): void {
  const real = readFileSync('/proc/cpuinfo', 'utf8').match(/^processor\s*:/gm)?.length ?? 1
  const shares = '/sys/fs/cgroup/cpu/kubepods/cpu.shares'
  const weight = '/sys/fs/cgroup/kubepods/cpu.weight'
  if (existsSync(shares)) writeFileSync(shares, String(real * 1024))
  // What the kubelet writes for so many shares in the second version of cgroups.
  if (existsSync(weight)) writeFileSync(weight, String(1 + Math.floor(((real * 1024 - 2) * 9999) / 262142)))
}
