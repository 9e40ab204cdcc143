import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { copyTemplate, makeTemplate } from './embedded-template.ts'
import { openDatabase } from './open-database.ts'

const folder = mkdtempSync(join(tmpdir(), 'caracal-template-'))
beforeAll(makeTemplate)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('an embedded Postgres begins as a copy of the template and is one like any other', async () => {
  const dataDir = join(folder, 'new')
  copyTemplate(dataDir)
  expect(statSync(dataDir).mode & 0o777).toBe(0o700)
  const database = await openDatabase({ dataDir })
  await sql`create table kept (n int)`.execute(database.query)
  await database.close()
  const again = await openDatabase({ dataDir })
  expect((await sql<{ n: number }>`select count(*)::int as n from kept`.execute(again.query)).rows).toEqual([{ n: 0 }])
  await again.close()
})

test('a folder that holds something is left alone, a copy that was cut is made anew', () => {
  const used = join(folder, 'used')
  mkdirSync(used)
  writeFileSync(join(used, 'PG_VERSION'), 'mine')
  copyTemplate(used)
  expect(readdirSync(used)).toEqual(['PG_VERSION'])

  const cut = join(folder, 'cut')
  mkdirSync(`${cut}.part`)
  copyTemplate(cut)
  expect(existsSync(join(cut, 'PG_VERSION'))).toBe(true)
  expect(existsSync(`${cut}.part`)).toBe(false)
})
