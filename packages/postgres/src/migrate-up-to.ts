import { cp, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Database } from './database.ts'
import { migrateUp } from './migrate-up.ts'
import { MIGRATIONS_DIR } from './migration-files.ts'

/** Applies the migrations up to a number, for tests: the schema of an earlier release. */
export async function migrateUpTo(database: Database, version: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'caracal-before-'))
  for (const file of await readdir(MIGRATIONS_DIR)) {
    if (Number(file.slice(0, 4)) <= version) await cp(new URL(file, MIGRATIONS_DIR), join(folder, file))
  }
  await migrateUp(database, { dir: pathToFileURL(`${folder}/`) })
  await rm(folder, { recursive: true })
}
