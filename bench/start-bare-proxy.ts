import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { freePort } from '@caracal/harness'
import type { Installation } from './installation.ts'
import { type Server, started, untilListens } from './server.ts'

/** The bare proxy as a process of its own, in front of the same upstream. */
export async function startBareProxy(installation: Pick<Installation, 'upstream' | 'watch'>): Promise<Server> {
  const port = await freePort()
  const child = spawn(process.execPath, [join(import.meta.dirname, 'bare-proxy.ts'), String(port), installation.upstream.url], {
    env: { PATH: process.env.PATH, NODE_ENV: 'production' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return installation.watch(await untilListens(started(child, port, 'bare proxy')))
}
