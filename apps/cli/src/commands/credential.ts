import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type CertificateName, certificateNames } from '@caracal/core'
import { callService } from '../api-client.ts'
import { CliError } from '../cli-error.ts'
import type { Context } from '../context.ts'
import { table } from '../output.ts'
import type { CommandContext } from './command.ts'
import { findNamed, findZone } from './find.ts'
import type { ClientCredential } from './mandate.ts'

type CredentialAnswer = {
  readonly id: string
  readonly client_id: string
  readonly client_secret: string
  readonly expiresAt: number | null
}

type KeyAnswer = { readonly id: string; readonly name: string; readonly api_key: string | null; readonly certificate?: string }

/** A client secret or an API key or certificate, as the lists of the API have them. */
type Row = {
  readonly id: string
  readonly kind: string
  readonly name?: string
  readonly certificate?: string
  readonly expiresAt: number | null
  readonly revokedAt?: number | null
}

/** Which application of which zone. */
type Whose = { readonly application: string; readonly zone?: string }

const DAY_MS = 86_400_000

/** Makes a client secret for an application and shows it once. */
export async function createCredential(
  { output, context }: CommandContext,
  options: Whose & { quiet?: boolean },
): Promise<ClientCredential> {
  const { where, path } = await pathOf(context(), options)
  const answer = await callService<CredentialAnswer>(where.api, where.token, `${path}/credentials`, { body: { kind: 'secret' } })
  if (!options.quiet) {
    if (output.json) output.line(JSON.stringify(answer))
    else {
      output.line(`client_id      ${answer.client_id}`)
      output.line(`client_secret  ${answer.client_secret}`)
      output.note('The secret is shown this once; it cannot be read again.')
    }
  }
  return { clientId: answer.client_id, clientSecret: answer.client_secret }
}

/** Makes an API key for an application and shows it once. `days` 0: until it is revoked. */
export async function createApiKey(command: CommandContext, options: Whose & { name: string; days: string }): Promise<void> {
  const { output } = command
  const answer = await addKey(command, options, { kind: 'api_key' })
  if (output.json) return output.line(JSON.stringify(answer))
  output.line(`id       ${answer.id}`)
  output.line(`api_key  ${answer.api_key}`)
  output.note('The key is shown this once; it cannot be read again.')
}

/** Binds a client certificate to an application: one that is in a file, by thumbprint or subject, or all that carry a name. */
export async function bindCertificate(
  command: CommandContext,
  options: Whose & { name: string; days: string; certificate?: string; subject: boolean; match?: string },
): Promise<void> {
  const { output } = command
  if ((options.certificate === undefined) === (options.match === undefined))
    throw new CliError('Say which certificate: --certificate <file>, or --match <name>.', undefined, { exitCode: 2 })
  const certificate = options.match ?? nameOf(options.certificate ?? '', options.subject)
  const answer = await addKey(command, options, { kind: 'certificate', certificate })
  if (output.json) return output.line(JSON.stringify(answer))
  output.line(`id           ${answer.id}`)
  output.line(`certificate  ${answer.certificate}`)
}

/** Client secrets, public keys, API keys and certificates of an application; nothing of it can be used. */
export async function listCredentials({ output, context }: CommandContext, options: Whose): Promise<void> {
  const { where, path } = await pathOf(context(), options)
  const rows = await rowsOf(where, path)
  if (output.json) return output.line(JSON.stringify(rows))
  if (rows.length === 0) return output.note(`${options.application} has no credentials.`)
  const moment = (at: number | null | undefined) => (at === null || at === undefined ? '-' : new Date(at).toISOString())
  const cells = rows.map((row) => [row.kind, row.name ?? '-', row.id, row.certificate ?? '-', moment(row.expiresAt), moment(row.revokedAt)])
  for (const line of table(['kind', 'name', 'id', 'certificate', 'expires', 'revoked'], cells)) output.line(line)
}

/** Ends one credential of an application at once: by id, or an API key or certificate by name. */
export async function revokeCredential({ output, context }: CommandContext, options: Whose & { credential: string }): Promise<void> {
  const { where, path } = await pathOf(context(), options)
  const rows = await rowsOf(where, path)
  const found = rows.find((row) => row.id === options.credential || (row.name === options.credential && row.revokedAt === null))
  if (found === undefined)
    throw new CliError(`${options.application} has no credential ${options.credential}.`, '`caracal credential list` shows what it has.')
  await callService(where.api, where.token, `${path}/${isKey(found) ? 'keys' : 'credentials'}/${found.id}`, { method: 'DELETE' })
  if (output.json) return output.line(JSON.stringify({ revoked: true, kind: found.kind, id: found.id }))
  output.line(`revoked ${found.kind} ${found.id}`)
}

async function pathOf(where: Context, { application: named, zone: zoneName }: Whose): Promise<{ where: Context; path: string }> {
  const zone = await findZone(where, zoneName)
  const application = await findNamed(where, zone, 'application', named)
  return { where, path: `/v1/zones/${zone.id}/applications/${application.id}` }
}

async function addKey(
  { context }: CommandContext,
  options: Whose & { name: string; days: string },
  key: { kind: 'api_key' } | { kind: 'certificate'; certificate: string },
): Promise<KeyAnswer> {
  const days = Number(options.days)
  if (!/^\d{1,5}$/.test(options.days)) throw new CliError(`${options.days} is not a number of days.`, undefined, { exitCode: 2 })
  const { where, path } = await pathOf(context(), options)
  const expiresAt = days === 0 ? undefined : Date.now() + days * DAY_MS
  return await callService<KeyAnswer>(where.api, where.token, `${path}/keys`, { body: { ...key, name: options.name, expiresAt } })
}

async function rowsOf(where: Context, path: string): Promise<readonly Row[]> {
  const lists = ['credentials', 'keys'].map((list) => callService<{ items: readonly Row[] }>(where.api, where.token, `${path}/${list}`))
  return (await Promise.all(lists)).flatMap(({ items }) => items)
}

function isKey(row: Row): boolean {
  return row.revokedAt !== undefined
}

function nameOf(file: string, bySubject: boolean): CertificateName {
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(readFileSync(file))
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new CliError(`${file} is not a certificate that can be read: ${why}.`, 'Give a PEM or DER file.')
  }
  const found = certificateNames(certificate).find((name) => name.startsWith(bySubject ? 'subject:' : 'sha256:'))
  if (found === undefined) throw new CliError(`${file} has no subject.`, 'Bind it by its thumbprint: leave --subject away.')
  return found
}
