import { existsSync } from 'node:fs'
import { parseKeyRing } from '@caracal/core'
import type { Database } from '@caracal/postgres'
import { CliError } from '../cli-error.ts'
import { readSecretFile } from '../secret-file.ts'
import { withDatabase } from '../with-database.ts'
import { type KekHolder, KekMismatch } from './kek.ts'

/** `withDatabase` for work that opens the key of the installation. */
export async function onDatabase(env: NodeJS.ProcessEnv, work: (database: Database) => Promise<void>): Promise<void> {
  try {
    await withDatabase(env, work)
  } catch (error) {
    if (!(error instanceof KekMismatch)) throw error
    throw new CliError(`The key of this installation cannot be opened: ${error.message}.`, 'Look at ZONE_KEK and DB_PASSWORD.', {
      exitCode: 2,
    })
  }
}

/** Who opens the key of the installation, as the environment says: `ZONE_KEK` where it is set, else the password of the database. */
export function holderIn(env: NodeJS.ProcessEnv, suffix: '' | '_PREVIOUS' = ''): KekHolder | undefined {
  const key = textOf(env, `ZONE_KEK${suffix}`)
  if (key !== undefined) {
    const ring = parseKeyRing({ current: key })
    if (!ring.ok) throw new CliError(`ZONE_KEK${suffix} cannot be used: ${ring.problem}.`, undefined, { exitCode: 2 })
    return { by: 'zone-kek', secret: ring.value.current.bytes }
  }
  const password = textOf(env, `DB_PASSWORD${suffix}`)
  return password === undefined ? undefined : { by: 'password', secret: password }
}

/** The holder that there must be. */
export function demandedHolder(env: NodeJS.ProcessEnv): KekHolder {
  const holder = holderIn(env)
  if (holder === undefined) throw new CliError('Neither ZONE_KEK nor DB_PASSWORD is set.', undefined, { exitCode: 2 })
  return holder
}

function textOf(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const file = env[`${name}_FILE`]
  if (!file) return env[name] || undefined
  // The Secret may leave ZONE_KEK out; a pod names its file all the same.
  if (name === 'ZONE_KEK' && !existsSync(file)) return undefined
  return readSecretFile(file, `The file that ${name}_FILE names`).trim() || undefined
}
