import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { ROOT } from './markdown-files.ts'

const MAIN = join(ROOT, 'apps/cli/src/main.ts')

/** Ports that pages name. A run moves all of them by one offset, so that it meets nothing else on the machine. */
const PORTS = [3000, 4000, 4873, 7070, 8080, 8081, 8082, 8090, 9090] as const
const METRICS_PORTS = [9464, 9465, 9466, 9467, 9468, 9469] as const

export type Ran = { readonly code: number; readonly output: string }

/** One reading of a page: a fresh clone, a shell that keeps its variables from block to block, and `caracal up` when the page starts it. */
export type PageRun = {
  readonly folder: string
  /** The text with the ports of this run. */
  withPorts(text: string): string
  /** Writes a file into the clone. */
  write(name: string, text: string): void
  run(command: string): Promise<Ran>
  close(): Promise<void>
}

/** Begins a page: nothing is left of the pages before. */
export async function openPage(): Promise<PageRun> {
  const offset = await freeOffset()
  const withPorts = (text: string) =>
    text.replaceAll(/\b\d{4}\b/g, (port) => (PORTS.some((one) => one === Number(port)) ? String(Number(port) + offset) : port))
  const folder = cloneOf(withPorts)
  const shell = openShell(folder)
  const up: ChildProcess[] = []
  return {
    folder,
    withPorts,
    write(name, text) {
      mkdirSync(dirname(join(folder, name)), { recursive: true })
      writeFileSync(join(folder, name), withPorts(text))
    },
    async run(command) {
      if (/^(?:make|npx caracal) up\b/.test(command)) return startUp(folder, offset, up, / --mcp '([^']+)'/.exec(command)?.[1])
      // This is what runs now.
      if (/^make test$|^\.ci\/run$/.test(command)) return { code: 0, output: '' }
      return shell.run(withPorts(command))
    },
    async close() {
      shell.close()
      await Promise.all(up.map(ended))
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The checkout, linked, in a folder of its own: what a page writes stays out of it. The examples are copies with the ports of the run. */
function cloneOf(withPorts: (text: string) => string): string {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-page-'))
  const own = new Set(['.git', '.caracal', 'examples', 'try'])
  for (const name of readdirSync(ROOT)) if (!own.has(name)) symlinkSync(join(ROOT, name), join(folder, name))
  for (const example of readdirSync(join(ROOT, 'examples'))) {
    const from = join(ROOT, 'examples', example)
    const to = join(folder, 'examples', example)
    mkdirSync(to, { recursive: true })
    cpSync(from, to, { recursive: true, filter: (source) => basename(source) !== 'node_modules' && basename(source) !== '.caracal' })
    if (existsSync(join(from, 'node_modules'))) symlinkSync(join(from, 'node_modules'), join(to, 'node_modules'))
    for (const file of readdirSync(to, { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.yaml') || file.startsWith('node_modules')) continue
      writeFileSync(join(to, file), withPorts(readFileSync(join(to, file), 'utf8')))
    }
  }
  return folder
}

/** `npx caracal` is the CLI of this checkout; packages are installed already. */
const PRELUDE = `
exec 2>&1
npx() { if [ "$1" = caracal ]; then shift; '${process.execPath}' '${MAIN}' "$@"; else command npx "$@"; fi; }
npm() { if [ "$1" = ci ] && [ -e node_modules ]; then echo 'packages are installed'; else command npm "$@"; fi; }
make() { command make -o node_modules/.package-lock.json "$@"; }
`

function openShell(folder: string): { run(command: string): Promise<Ran>; close(): void } {
  const shell: ChildProcessByStdio<Writable, Readable, null> = spawn('bash', ['--noprofile', '--norc'], {
    cwd: folder,
    env: cleanEnvironment(),
    stdio: ['pipe', 'pipe', 'ignore'],
    // Its background processes are ended with it.
    detached: true,
  })
  let printed = ''
  let listen = () => {}
  shell.stdout.on('data', (chunk) => {
    printed += String(chunk)
    listen()
  })
  shell.on('exit', () => listen())
  shell.stdin.write(PRELUDE)
  return {
    run: (command) =>
      new Promise((resolve, reject) => {
        const mark = `done-${randomBytes(8).toString('hex')}`
        const file = join(folder, `.${mark}`)
        writeFileSync(file, `${command}\n`)
        const begun = printed.length
        listen = () => {
          const found = new RegExp(`\\n${mark} (\\d+)\\n`).exec(printed.slice(begun))
          if (found !== null) {
            listen = () => {}
            rmSync(file)
            resolve({ code: Number(found[1]), output: printed.slice(begun, begun + found.index) })
          } else if (shell.exitCode !== null) reject(new Error(`the shell of the page ended: ${printed.slice(begun)}`))
        }
        shell.stdin.write(`source '${file}' </dev/null; printf '\\n${mark} %d\\n' $?\n`)
      }),
    close() {
      if (shell.pid !== undefined) process.kill(-shell.pid, 'SIGKILL')
    },
  }
}

/** The environment of a person who has set nothing of ours. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(?:CARACAL_|DATABASE_URL|REDIS_URL|DB_|VITEST|NODE_OPTIONS|MAKE|MFLAGS|npm_)/.test(name),
  )
  return { ...Object.fromEntries(kept), NO_COLOR: '1' }
}

/** `caracal up` in the clone, until the page ends; the answer is what it says when it is ready. */
function startUp(folder: string, offset: number, up: ChildProcess[], mcp: string | undefined): Promise<Ran> {
  const more = mcp === undefined ? [] : ['--mcp', mcp]
  const child = spawn(process.execPath, [MAIN, 'up', '--port-offset', String(offset), ...more], {
    cwd: folder,
    env: cleanEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  up.push(child)
  return new Promise((resolve) => {
    let output = ''
    const take = (chunk: unknown) => {
      output += String(chunk)
      if (output.includes('Ctrl-C stops')) resolve({ code: 0, output })
    }
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('exit', (code) => resolve({ code: code ?? 1, output }))
  })
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null) return resolve()
    child.once('exit', () => resolve())
    child.kill('SIGTERM')
  })
}

/** An offset whose ports are all free a moment before, and below those that the system hands out for outgoing connections. */
async function freeOffset(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const offset = 10_000 + Math.floor(Math.random() * 1_300) * 10
    const taken = await Promise.all([...PORTS, ...METRICS_PORTS].map((port) => isTaken(port + offset)))
    if (taken.every((one) => !one)) return offset
  }
  throw new Error('no free ports')
}

function isTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
