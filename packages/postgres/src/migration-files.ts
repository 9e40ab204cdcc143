import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'

/** One numbered file of `migrations/`, in plain SQL. */
export type Migration = {
  readonly version: number
  readonly name: string
  readonly sql: string
  /** SHA-256 of the file, hex. */
  readonly sha256: string
  /** `contract` removes what an older release still needs and must raise the schema floor. */
  readonly phase: 'expand' | 'contract'
}

/** Where the released migrations are. */
export const MIGRATIONS_DIR = new URL('../migrations/', import.meta.url)

const FILE = /^(\d{4})_([a-z0-9_]+)\.sql$/
const PHASE = /^-- phase: (expand|contract)$/m

/** Reads the migrations of a folder, ascending. A stray file, a double number or a missing phase line throws. */
export async function readMigrations(dir: URL = MIGRATIONS_DIR): Promise<readonly Migration[]> {
  const found: Migration[] = []
  for (const file of (await readdir(dir)).sort()) {
    const [, version, name] = FILE.exec(file) ?? []
    if (version === undefined || name === undefined) throw new Error(`not a migration: ${file} (expected NNNN_name.sql)`)
    const sql = await readFile(new URL(file, dir), 'utf8')
    const phase = PHASE.exec(sql)?.[1]
    if (phase !== 'expand' && phase !== 'contract')
      throw new Error(`migration ${file} has no line "-- phase: expand" or "-- phase: contract"`)
    if (found.at(-1)?.version === Number(version)) throw new Error(`two migrations have the number ${version}`)
    found.push({ version: Number(version), name, sql, sha256: createHash('sha256').update(sql).digest('hex'), phase })
  }
  return found
}
