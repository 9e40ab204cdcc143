import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { link, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** Who holds a directory. `start` tells two processes with the same number apart. */
type Holder = { readonly id: string; readonly host: string; readonly pid: number; readonly start: string }

const SIGN_EVERY_MS = 2_000
/** A holder on another machine cannot be asked; it has to give a sign of life. */
const SILENT_MS = 10_000
const WAIT_MS = 15_000

/** Directories of this process: its own number proves nothing, since a restarted container has the same one. */
const ours = new Set<string>()

/**
 * Takes a directory for this process alone. A lock whose process is dead is taken over at once, one of another machine when it
 * gave no sign of life for ten seconds. Returns how to give it back.
 * @throws Error when another process has it.
 */
export async function lockDirectory(dir: string, waitMs: number = WAIT_MS): Promise<() => Promise<void>> {
  const path = join(dir, 'lock')
  const self: Holder = { id: randomUUID(), host: hostname(), pid: process.pid, start: startOf(process.pid) ?? '' }
  const deadline = Date.now() + waitMs
  for (;;) {
    if (await place(path, self)) break
    const holder = await read(path)
    if (holder === 'gone') continue
    if (isAlive(holder, dir)) throw new Error(`the spool ${dir} is in use by process ${holder?.pid} on ${holder?.host}`)
    if (isDead(holder) || (await isSilent(path))) {
      await takeAway(path, holder)
      continue
    }
    if (Date.now() > deadline) throw new Error(`the spool ${dir} is in use on ${holder?.host ?? 'another machine'}`)
    await sleep(200)
  }
  ours.add(dir)
  const sign = setInterval(() => {
    const now = new Date()
    utimes(path, now, now).catch(() => {}) // a volume that cannot be written says so at the next append
  }, SIGN_EVERY_MS).unref()
  return async () => {
    clearInterval(sign)
    ours.delete(dir)
    const holder = await read(path).catch(() => undefined)
    if (holder !== 'gone' && holder?.id === self.id) await rm(path, { force: true })
  }
}

/** A hard link to a complete file: it appears at once and never over another. */
async function place(path: string, self: Holder): Promise<boolean> {
  const own = `${path}.${self.id}`
  await writeFile(own, JSON.stringify(self))
  try {
    await link(own, path)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
    throw error
  } finally {
    await rm(own, { force: true })
  }
}

/** Removes exactly this holder's lock: if another process was faster, what was moved by mistake is put back. */
async function takeAway(path: string, holder: Holder | undefined): Promise<void> {
  const aside = `${path}.${randomUUID()}`
  try {
    await rename(path, aside)
  } catch {
    return // somebody else took it away
  }
  const moved = await read(aside)
  if (moved !== 'gone' && moved?.id !== holder?.id) await link(aside, path).catch(() => {})
  await rm(aside, { force: true })
}

/** Undefined when it cannot be understood: then only its age counts. */
async function read(path: string): Promise<Holder | undefined | 'gone'> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Holder
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 'gone'
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function isAlive(holder: Holder | undefined, dir: string): boolean {
  if (holder === undefined || holder.host !== hostname()) return false
  if (holder.pid === process.pid) return ours.has(dir)
  return runs(holder)
}

function isDead(holder: Holder | undefined): boolean {
  return holder !== undefined && holder.host === hostname()
}

function runs({ pid, start }: Holder): boolean {
  const found = startOf(pid)
  if (found !== undefined) return start === '' || found === start
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** When a process began, in ticks since boot, where the system tells (Linux). */
function startOf(pid: number): string | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return fields.slice(fields.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

async function isSilent(path: string): Promise<boolean> {
  try {
    return Date.now() - (await stat(path)).mtimeMs > SILENT_MS
  } catch {
    return false
  }
}
