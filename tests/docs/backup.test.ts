import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { newId } from '@caracal/core'
import { freshDatabaseUrl } from '@caracal/harness'
import { createApplication, createZone, openDatabase } from '@caracal/postgres'
import { expect, it } from 'vitest'
import { ROOT } from './markdown-files.ts'
import { commandsOf } from './page-commands.ts'

const MAIN = join(ROOT, 'apps/cli/src/main.ts')
/** Where Debian has the programs of the server that the tests run. */
const SERVER = '/usr/lib/postgresql/15/bin'

it('a dump as the page makes it goes into an empty database, with every row of every zone, and the version fits', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'caracal-backup-'))
  const [from, to] = [await freshDatabaseUrl(), await freshDatabaseUrl()]
  const page = readFileSync(join(ROOT, 'docs/operations/backup-and-restore.md'), 'utf8')
  const commands = commandsOf(page.replaceAll(/<([a-z-]+)>/g, '$$MY_URL')).map(({ text }) => text)
  const run = (name: string, url: string) => {
    const command = commands.find((text) => text.startsWith(`${name} `)) ?? ''
    const env = { ...process.env, PATH: `${process.env.PATH}${delimiter}${SERVER}`, MY_URL: url }
    const { status, stderr } = spawnSync('bash', ['-c', command], { cwd: folder, encoding: 'utf8', env })
    expect(status, `${command}\n${stderr}`).toBe(0)
  }
  const caracal = (url: string, ...args: string[]) =>
    execFileSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', env: { PATH: process.env.PATH, DATABASE_URL: url } })
  try {
    caracal(from, 'db', 'migrate', 'up')
    await applicationsOf(from, ['north', 'south'])
    run('pg_dump', from)
    run('pg_restore', to)
    expect(caracal(to, 'db', 'status')).toContain('The schema is current')
    expect(await applicationsOf(to, [])).toEqual(['north-agent', 'south-agent'])
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}, 120_000)

/** Adds zones with an application each, and says which applications there are; as who migrates. */
async function applicationsOf(url: string, added: readonly string[]): Promise<string[]> {
  const database = await openDatabase({ url })
  try {
    for (const name of added) {
      const zone = newId('zone')
      await createZone(database.query, { id: zone, name, labels: [] }, Date.now())
      await createApplication(database.query, { id: newId('application'), zone, name: `${name}-agent`, labels: [] }, Date.now())
    }
    const rows = await database.query.selectFrom('applications').select('name').orderBy('name').execute()
    return rows.map(({ name }) => name)
  } finally {
    await database.close()
  }
}
