import type { ChildProcess } from 'node:child_process'
import { createConnection } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** A process that listens on a port of loopback. */
export type Server = {
  readonly name: string
  readonly url: string
  readonly port: number
  readonly pid: number
  /** The last of what it printed, and how it ended if nobody had asked it to. */
  said(): string
  ended(): boolean
  /** Asks it to end; a process that does not within 25 seconds is killed. */
  stop(): Promise<void>
}

const KEPT = 4_000
const START_MS = 60_000
const STOP_MS = 25_000

/** A process that was just started and will listen on this port. */
export function started(child: ChildProcess, port: number, name: string): Server {
  let said = ''
  let asked = false
  const hear = (text: string) => {
    said = (said + text).slice(-KEPT)
  }
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => hear(String(chunk)))
  const gone = new Promise<void>((resolve) => {
    child.once('error', (error) => resolve(hear(error.message)))
    child.once('exit', (code, signal) => resolve(asked ? undefined : hear(`ended with ${code ?? signal}\n`)))
  })
  return {
    name,
    url: `http://127.0.0.1:${port}`,
    port,
    pid: child.pid ?? 0,
    said: () => said,
    ended: () => child.pid === undefined || child.exitCode !== null || child.signalCode !== null,
    stop: () => {
      asked = true
      child.kill('SIGTERM')
      const patience = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
      return gone.finally(() => clearTimeout(patience))
    },
  }
}

/** The server when it accepts connections; throws when it ended before, or after a minute. */
export async function untilListens(server: Server): Promise<Server> {
  const deadline = Date.now() + START_MS
  while (!(await accepts(server.port))) {
    if (server.ended()) throw new Error(`${server.name} does not start: ${server.said()}`)
    if (Date.now() > deadline) throw new Error(`${server.name} does not listen: ${server.said()}`)
    await sleep(20)
  }
  return server
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
