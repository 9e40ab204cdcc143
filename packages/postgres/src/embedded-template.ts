import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync } from 'node:fs'
import { findPackageJSON } from 'node:module'
import { dirname, join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'

/**
 * An initialised and empty Postgres below `node_modules`, of the installed PGlite: to copy it takes a twentieth of the time that
 * initdb does. It holds nothing of anybody, and a first start without it only takes longer.
 */
function templateDirectory(): string | undefined {
  const manifest = findPackageJSON('@electric-sql/pglite', import.meta.url)
  if (manifest === undefined) return undefined
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
  return join(dirname(manifest), '../../.cache/caracal', `postgres-${version}`)
}

/** Makes the template unless it stands. It appears whole or not at all, also when several make it. */
export async function makeTemplate(): Promise<void> {
  const template = templateDirectory()
  if (template === undefined || existsSync(template)) return
  mkdirSync(dirname(template), { recursive: true })
  const part = mkdtempSync(`${template}.part-`)
  try {
    const pglite = await PGlite.create({ dataDir: part })
    await pglite.close()
    if (!existsSync(template)) renameSync(part, template)
  } finally {
    rmSync(part, { recursive: true, force: true })
  }
}

/** Puts a copy of the template where there is nothing yet. A copy that was cut leaves nothing that looks like a database. */
export function copyTemplate(dataDir: string): void {
  const template = templateDirectory()
  if (template === undefined || !existsSync(template)) return
  if (existsSync(dataDir)) {
    if (readdirSync(dataDir).length > 0) return
    rmdirSync(dataDir)
  }
  const part = `${dataDir}.part`
  rmSync(part, { recursive: true, force: true })
  cpSync(template, part, { recursive: true })
  chmodSync(part, 0o700)
  renameSync(part, dataDir)
}

if (import.meta.main) await makeTemplate()
