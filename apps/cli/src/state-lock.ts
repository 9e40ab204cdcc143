import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CliError } from './cli-error.ts'

/** Who takes the lock makes the file first and writes into it then: for so long an empty one is somebody's. Milliseconds. */
const WRITING_MS = 2_000

/**
 * Takes the state folder for this process: embedded Postgres must never be opened twice. Of any number that try at once exactly
 * one gets it. A dead owner's lock is taken over, also when its process id belongs to somebody else by now.
 */
export function lockState(directory: string): () => void {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const path = join(directory, 'lock')
  const mine = identity(process.pid)
  for (;;) {
    try {
      writeFileSync(path, mine, { flag: 'wx', mode: 0o600 })
      return () => rmSync(path, { force: true })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    }
    const owner = readOwner(path)
    if (owner === undefined) continue
    if (owner === '' || isAlive(owner)) {
      const who = owner === '' ? 'that is just starting' : `(pid ${owner.split(' ')[0]})`
      throw new CliError(`Another \`caracal up\` ${who} runs on ${directory}.`, 'Stop it, or set CARACAL_HOME to another folder.')
    }
    takeAway(path, owner)
  }
}

/** What the lock says; '' while its owner is about to write; undefined when it is gone. */
function readOwner(path: string): string | undefined {
  try {
    const text = readFileSync(path, 'utf8').trim()
    if (text !== '') return text
    return Date.now() - statSync(path).mtimeMs < WRITING_MS ? '' : '0'
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Removes a dead owner's lock, and only that: somebody else may have removed it, and made a new one, a moment before. */
function takeAway(path: string, dead: string): void {
  const aside = `${path}.${process.pid}`
  try {
    renameSync(path, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  const taken = readFileSync(aside, 'utf8').trim()
  if (taken === dead || (dead === '0' && taken === '')) rmSync(aside, { force: true })
  else renameSync(aside, path)
}

/** The process id, and where the system tells it, when that process began: process ids are used again. */
function identity(pid: number): string {
  return `${pid} ${startOf(pid)}`.trim()
}

function startOf(pid: number): string {
  try {
    // Field 22 of proc_pid_stat(5); the name in field 2 may hold blanks and brackets.
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}

function isAlive(owner: string): boolean {
  const [text, start] = owner.split(' ')
  const pid = Number(text)
  if (!Number.isInteger(pid) || pid <= 0) return false
  if (start !== undefined) return startOf(pid) === start
  if (pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
