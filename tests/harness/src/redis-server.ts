import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from './free-port.ts'

export type RedisServer = {
  readonly url: string
  readonly port: number
  /** SIGSTOP makes it hang without closing anything, SIGCONT lets it go on. */
  signal(signal: NodeJS.Signals): void
  /** Ends it and leaves its files: SIGKILL as in a crash, SIGTERM as an administrator would. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<void>
  /** Starts what was ended again, on its port and its files. Resolves when it answers. */
  start(): Promise<void>
  /** Ends it and removes its files. */
  stop(signal?: NodeJS.Signals): Promise<void>
}

/**
 * Starts a Redis of its own on loopback; nothing is persisted unless it shall be `durable` (an append-only file, synchronised
 * once a second, as in production) or `args` say so. Resolves when it answers.
 */
export async function startRedis(options: { port?: number; durable?: boolean; args?: readonly string[] } = {}): Promise<RedisServer> {
  const port = options.port ?? (await freePort())
  const dir = mkdtempSync(join(tmpdir(), 'caracal-redis-'))
  const args = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    dir,
    '--save',
    '',
    '--appendonly',
    options.durable ? 'yes' : 'no',
    '--maxmemory-policy',
    'noeviction',
    ...(options.args ?? []),
  ]
  let child: ChildProcess | undefined
  const start = async () => {
    const started = spawn('redis-server', args, { stdio: 'ignore' })
    child = started
    let failure: Error | undefined
    started.once('error', (error) => {
      failure = new Error('Redis is not installed: run `make test-servers` (Debian), or install a package with `redis-server`', {
        cause: error,
      })
    })
    const deadline = Date.now() + 10_000
    while (!(await answers(port))) {
      if (failure) throw failure
      if (Date.now() > deadline) throw new Error('redis-server does not answer')
      await sleep(20)
    }
  }
  const end = async (signal: NodeJS.Signals) => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGCONT') // what was stopped would never hear of it
    child.kill(signal)
    await exited
  }
  await start()
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    signal: (signal) => void child?.kill(signal),
    end,
    start,
    stop: async (signal = 'SIGKILL') => {
      await end(signal)
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'))
    socket.once('data', (data) => {
      socket.destroy()
      resolve(data.toString().startsWith('+PONG'))
    })
    socket.once('error', () => resolve(false))
  })
}
