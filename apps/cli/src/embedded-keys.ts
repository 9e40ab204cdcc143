import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CliError } from './cli-error.ts'

/** Keys and tokens of an embedded installation, each in a file of its own (0600). Made on the first start, never changed. */
export type EmbeddedKeys = {
  readonly zoneKek: string
  readonly auditHmacKey: string
  readonly streamsHmacKey: string
  readonly gatewayStsHmacKey: string
  readonly adminToken: string
  readonly coordinatorToken: string
  readonly stsAdminToken: string
  readonly auditAdminToken: string
  readonly notesApiKey: string
}

const hexKey = () => randomBytes(32).toString('hex')
const token = () => `cat_${randomBytes(32).toString('base64url')}`

const FILES: Readonly<Record<keyof EmbeddedKeys, { readonly file: string; readonly make: () => string }>> = {
  zoneKek: { file: 'zone-kek', make: hexKey },
  auditHmacKey: { file: 'audit-hmac-key', make: hexKey },
  streamsHmacKey: { file: 'streams-hmac-key', make: hexKey },
  gatewayStsHmacKey: { file: 'gateway-sts-hmac-key', make: hexKey },
  adminToken: { file: 'admin-token', make: token },
  coordinatorToken: { file: 'coordinator-token', make: token },
  stsAdminToken: { file: 'sts-admin-token', make: token },
  auditAdminToken: { file: 'audit-admin-token', make: token },
  notesApiKey: { file: 'notes-api-key', make: hexKey },
}

/** Loads the keys of the folder, making what is missing. A key file that others can read is refused. */
export function loadEmbeddedKeys(directory: string): EmbeddedKeys {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const entries = Object.entries(FILES).map(([name, { file, make }]) => [name, readOrMake(join(directory, file), make)])
  return Object.fromEntries(entries) as EmbeddedKeys
}

function readOrMake(path: string, make: () => string): string {
  if (!existsSync(path)) {
    writeFileSync(path, `${make()}\n`, { mode: 0o600, flag: 'wx' })
    chmodSync(path, 0o600)
  }
  if ((statSync(path).mode & 0o077) !== 0) throw new CliError(`${path} can be read by others.`, `chmod 600 ${path}`)
  return readFileSync(path, 'utf8').trim()
}
