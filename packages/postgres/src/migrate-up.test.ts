import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { openEmpty } from './both-databases.ts'
import type { Database } from './database.ts'
import { initDatabase, migrateUp, migrationStatus } from './migrate-up.ts'
import { MIGRATIONS_DIR, readMigrations } from './migration-files.ts'
import { SCHEMA, schemaCompatibility } from './schema-compatibility.ts'

const opened: Database[] = []
const folders: string[] = []

afterEach(async () => {
  for (const database of opened.splice(0)) await database.close()
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true })
})

async function empty(kind: Database['kind']): Promise<Database> {
  const database = await openEmpty(kind)
  opened.push(database)
  return database
}

async function folderOf(files: Readonly<Record<string, string>>): Promise<URL> {
  const folder = await mkdtemp(join(tmpdir(), 'caracal-migrations-'))
  folders.push(folder)
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  return pathToFileURL(`${folder}/`)
}

const ONE = '-- phase: expand\nCREATE TABLE one (id int); INSERT INTO one VALUES (1);'

describe.each(['embedded', 'server'] as const)('migrations (%s)', (kind) => {
  test('[P-135] a fresh database gets every migration once, in order, with checksum and duration', async () => {
    const database = await empty(kind)
    const seen: string[] = []
    const applied = await migrateUp(database, { app: '1.2.3', onProgress: ({ name }) => seen.push(name) })
    const files = await readMigrations()
    expect(applied.map(({ version }) => version)).toEqual(files.map(({ version }) => version))
    expect(seen).toEqual(files.map(({ name }) => name))
    expect(await migrateUp(database)).toEqual([])
    const rows = await database.query.selectFrom('schema_migrations').selectAll().orderBy('version').execute()
    expect(rows.map((row) => [row.sha256, row.app_version])).toEqual(files.map((file) => [file.sha256, '1.2.3']))
    expect(await migrationStatus(database)).toEqual(
      rows.map((row) => expect.objectContaining({ version: row.version, state: 'applied', appliedAt: row.applied_at })),
    )
  })

  test('[P-135] two runners at once apply each migration exactly once', async () => {
    const database = await empty(kind)
    const runs = await Promise.all([migrateUp(database), initDatabase(database), migrateUp(database), initDatabase(database)])
    const applied = [...(runs[0] ?? []), ...(runs[2] ?? [])].map(({ version }) => version).sort((a, b) => a - b)
    expect(applied).toEqual((await readMigrations()).map(({ version }) => version))
  })

  test('init and up may come in any order, any number of times', async () => {
    const database = await empty(kind)
    expect((await migrationStatus(database)).every(({ state }) => state === 'pending')).toBe(true)
    await initDatabase(database)
    await initDatabase(database)
    expect((await migrationStatus(database)).every(({ state }) => state === 'pending')).toBe(true)
    await migrateUp(database)
    await initDatabase(database)
    expect(await migrateUp(database)).toEqual([])
  })

  test('[P-135] a migration that changed after it ran stops every runner before anything is applied', async () => {
    const database = await empty(kind)
    await migrateUp(database, { dir: await folderOf({ '0001_one.sql': ONE }) })
    const dir = await folderOf({ '0001_one.sql': `${ONE} `, '0002_two.sql': '-- phase: expand\nCREATE TABLE two (id int);' })
    await expect(migrateUp(database, { dir })).rejects.toThrow(/0001_one\.sql was changed/)
    expect((await migrationStatus(database, { dir })).map(({ state }) => state)).toEqual(['changed', 'pending'])
  })

  test('a migration that fails leaves nothing of itself and keeps those before it', async () => {
    const database = await empty(kind)
    const dir = await folderOf({ '0001_one.sql': ONE, '0002_two.sql': '-- phase: expand\nCREATE TABLE two (id int); SELECT 1/0;' })
    await expect(migrateUp(database, { dir })).rejects.toThrow(/division by zero/)
    expect((await migrationStatus(database, { dir })).map(({ state }) => state)).toEqual(['applied', 'pending'])
  })

  test('[P-135] a release knows whether it can work with the schema it finds', async () => {
    const database = await empty(kind)
    expect(await schemaCompatibility(database)).toMatchObject({ state: 'too_old', schema: 0 })
    await migrateUp(database)
    expect(await schemaCompatibility(database)).toMatchObject({ state: 'ok', schema: SCHEMA.level, floor: 6 })
    expect(await schemaCompatibility(database, { requires: 4, level: 5 })).toMatchObject({ state: 'too_new' })
    expect(await schemaCompatibility(database, { requires: 1000, level: 1000 })).toMatchObject({ state: 'too_old' })
    await database.query
      .updateTable('schema_floor')
      .set({ floor: SCHEMA.level + 1 })
      .execute()
    expect(await schemaCompatibility(database)).toMatchObject({ state: 'too_new' })
  })
})

describe('migration files', () => {
  test('the level of this release is the number of its last migration', async () => {
    expect((await readMigrations()).at(-1)?.version).toBe(SCHEMA.level)
  })

  test.each([
    ['a stray file', { 'notes.txt': '' }, /not a migration/],
    ['no phase', { '0001_one.sql': 'SELECT 1' }, /phase/],
    ['a double number', { '0001_a.sql': ONE, '0001_b.sql': ONE }, /two migrations/],
  ])('%s is refused', async (_, files, message) => {
    await expect(readMigrations(await folderOf(files))).rejects.toThrow(message)
  })

  test('[P-137] no column is a timestamp without time zone', async () => {
    for (const file of await readdir(MIGRATIONS_DIR)) {
      expect(await readFile(new URL(file, MIGRATIONS_DIR), 'utf8')).not.toMatch(/\btimestamp\b(?! with time zone)/i)
    }
  })
})
