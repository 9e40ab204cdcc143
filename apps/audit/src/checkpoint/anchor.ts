import { closeSync, existsSync, fsyncSync, openSync, readSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

/** A place out of the database's reach that every checkpoint is copied to, and that remembers the last one of each log. */
export type Anchor = {
  readonly name: string
  /** Resolves when the copy is durable. Throws when it cannot be made so. */
  append(origin: string, note: string): Promise<void>
  /** The last note of each log, by origin: what a restored or cut database is found out with (P-103). */
  last(): ReadonlyMap<string, string>
}

/** Why this is no anchor; undefined when it is one. */
export function anchorProblem(text: string): string | undefined {
  if (!URL.canParse(text)) return 'must be URLs'
  const { protocol, host, search, hash } = new URL(text)
  if (protocol !== 'file:') return `has an anchor of kind ${protocol.slice(0, 16)} that is not supported: use file:///path`
  if (host !== '' || search !== '' || hash !== '') return 'has a file anchor that is not file:///path'
  return existsSync(dirname(fileURLToPath(text))) ? undefined : 'has a file anchor whose folder does not exist'
}

/** One line per checkpoint: `{"note","origin"}` as JSON. Only ever appended to, fsynced each time. Throws when the file cannot be read. */
export function fileAnchor(url: string): Anchor {
  const path = fileURLToPath(url)
  const remembered = readLast(path)
  let writing = Promise.resolve()
  const write = async (origin: string, note: string) => {
    const file = await open(path, 'a', 0o600)
    try {
      await file.appendFile(`${JSON.stringify({ origin, note })}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    remembered.set(origin, note)
  }
  return {
    name: url,
    append(origin, note) {
      const written = writing.then(() => write(origin, note))
      writing = written.catch(() => {})
      return written
    },
    last: () => remembered,
  }
}

/** Reads the file once, in pieces; a torn last line is what a crash leaves. */
function readLast(path: string): Map<string, string> {
  const last = new Map<string, string>()
  if (!existsSync(path)) {
    // Made now, so that a folder that cannot be written to shows at the start.
    closeSync(openSync(path, 'a', 0o600))
    syncFolder(dirname(path))
    return last
  }
  const take = (line: string) => {
    const found = parseLine(line)
    if (found !== undefined) last.set(found.origin, found.note)
  }
  const file = openSync(path, 'r')
  try {
    const piece = Buffer.alloc(Math.min(1_048_576, Math.max(1, statSync(path).size)))
    let rest: Buffer = Buffer.alloc(0)
    for (let read = readSync(file, piece); read > 0; read = readSync(file, piece)) {
      rest = Buffer.concat([rest, piece.subarray(0, read)])
      const end = rest.lastIndexOf(0x0a)
      if (end < 0) continue
      for (const line of rest.subarray(0, end).toString('utf8').split('\n')) take(line)
      rest = rest.subarray(end + 1)
    }
  } finally {
    closeSync(file)
  }
  return last
}

function parseLine(line: string): { origin: string; note: string } | undefined {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value !== 'object' || value === null || !('origin' in value) || !('note' in value)) return undefined
    return typeof value.origin === 'string' && typeof value.note === 'string' ? { origin: value.origin, note: value.note } : undefined
  } catch {
    return undefined
  }
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}
