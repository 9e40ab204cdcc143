import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { NODE_ADDRESS, place, repository } from './place.ts'
import { startProcess, stopProcess } from './processes.ts'

/** The network behind the node's: what stands for the internet, for a private network and for a cloud's metadata service. */
export const OUTSIDE_NAMESPACE = `${place.networkNamespace}-outside`
const ROUTER = '192.0.2.254/24'

const ip = (...args: readonly string[]) => execFileSync('ip', args, { stdio: 'pipe' })

/** Addresses beyond the node, which routes there, each with somebody who answers on the ports. */
export function startOutside(addresses: readonly string[], ports: readonly number[]): void {
  if (!existsSync(`/run/netns/${OUTSIDE_NAMESPACE}`)) {
    ip('netns', 'add', OUTSIDE_NAMESPACE)
    ip('-n', place.networkNamespace, 'link', 'add', 'outside0', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', OUTSIDE_NAMESPACE)
    ip('-n', place.networkNamespace, 'link', 'set', 'outside0', 'master', 'node0', 'up')
    ip('-n', OUTSIDE_NAMESPACE, 'link', 'set', 'lo', 'up')
    ip('-n', OUTSIDE_NAMESPACE, 'link', 'set', 'eth0', 'up')
    for (const address of [ROUTER, ...addresses.map((one) => `${one}/32`)]) {
      ip('-n', OUTSIDE_NAMESPACE, 'addr', 'replace', address, 'dev', 'eth0')
    }
    ip('-n', OUTSIDE_NAMESPACE, 'route', 'add', 'default', 'via', NODE_ADDRESS, 'dev', 'eth0')
  }
  const listener = [process.execPath, join(repository, 'tests/cluster/connection-listener.ts')]
  const listens = ['env', `PORTS=${ports.join(',')}`, `ADDRESSES=${addresses.join(',')}`]
  startProcess('outside', ['nsenter', `--net=/run/netns/${OUTSIDE_NAMESPACE}`, ...listens, ...listener])
}

export async function stopOutside(): Promise<void> {
  await stopProcess('outside')
  if (existsSync(`/run/netns/${OUTSIDE_NAMESPACE}`)) ip('netns', 'delete', OUTSIDE_NAMESPACE)
}
