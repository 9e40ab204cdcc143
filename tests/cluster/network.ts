import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { NODE_ADDRESS, place } from './place.ts'

const ip = (...args: readonly string[]) => execFileSync('ip', args, { stdio: 'pipe' })

/**
 * One namespace holds the whole cluster and its clients, so that nothing reaches the machine's network or is reached from there. The
 * node's address sits on a bridge, for want of a dummy device in some kernels.
 */
export function makeNetwork(): void {
  const name = place.networkNamespace
  if (existsSync(`/run/netns/${name}`)) return
  ip('netns', 'add', name)
  ip('-n', name, 'link', 'set', 'lo', 'up')
  ip('-n', name, 'link', 'add', 'node0', 'type', 'bridge')
  ip('-n', name, 'addr', 'add', `${NODE_ADDRESS}/24`, 'dev', 'node0')
  ip('-n', name, 'link', 'set', 'node0', 'up')
  ip('-n', name, 'route', 'add', 'default', 'dev', 'node0')
}

export function removeNetwork(): void {
  if (existsSync(`/run/netns/${place.networkNamespace}`)) ip('netns', 'delete', place.networkNamespace)
}
