import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const MAIN = join(import.meta.dirname, '../../apps/cli/src/main.ts')

export type Upstream = { readonly port: number; readonly held: ServerResponse[]; calls: number; stop(): void }

/** A place for a Gateway: its address and its volume, whatever process is there. */
export type Gateway = { readonly url: string; readonly spool: string; child: ChildProcess | undefined }

export function gatewayOn(port: number): Gateway {
  return { url: `http://127.0.0.1:${port}`, spool: mkdtempSync(join(tmpdir(), 'caracal-b-')), child: undefined }
}

/** Answers as its path says; `/hang` when the test lets it. */
export async function startUpstream(): Promise<Upstream> {
  const held: ServerResponse[] = []
  const server = createServer((request, response) => {
    made.calls += 1
    const [, what, value = ''] = (request.url ?? '').split('/')
    if (what === 'hang') held.push(response)
    else if (what === 'status') response.writeHead(Number(value)).end('as asked')
    else response.writeHead(200, what === 'cost' ? { 'X-Cost': decodeURIComponent(value) } : {}).end('ok')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const stop = () => {
    server.close()
    server.closeAllConnections()
  }
  const made = { port: (server.address() as AddressInfo).port, held, calls: 0, stop }
  return made
}

/** A Gateway as a process of its own; resolves when it is ready. */
export async function startGateway(gateway: Gateway, environment: Readonly<Record<string, string>>): Promise<void> {
  const child = spawn(process.execPath, [MAIN, 'serve', 'gateway'], {
    env: {
      PATH: process.env.PATH ?? '',
      ...environment,
      PORT: new URL(gateway.url).port,
      SPOOL_DIR: gateway.spool,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  gateway.child = child
  for (;;) {
    const ready = await fetch(`${gateway.url}/ready`).catch(() => undefined)
    if (ready?.status === 200) return
    if (child.exitCode !== null) throw new Error('the Gateway ended')
    await sleep(100)
  }
}

export async function kill(gateway: Gateway | undefined, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
  const child = gateway?.child
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill(signal)
  await gone
}
