import { createReadStream, createWriteStream, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  type BundleReport,
  type Checkpoint,
  type Finding,
  openCheckpoint,
  parseVerifierKey,
  type TrustedKey,
  verifyBundle,
} from '@caracal/ledger'
import { request } from 'undici'
import { callService, problemError, unreachable } from '../api-client.ts'
import { CliError } from '../cli-error.ts'
import { colour } from '../output.ts'
import type { CommandContext } from './command.ts'
import { findZone } from './find.ts'

export type LogKeys = { readonly origin: string; readonly vkeys: readonly string[] }

type Audit = { readonly audit: string; readonly token: string }

/** Downloads a signed evidence bundle: a range of the zone's log with everything an offline verifier needs. The file appears whole or not at all. */
export async function exportBundle(
  { output, context }: CommandContext,
  options: { zone?: string; file: string; from?: string; to?: string },
): Promise<void> {
  const where = context()
  const zone = await findZone(where, options.zone)
  const body = await requestBundle(where, zone.id, { ...indexOf('from', options.from), ...indexOf('to', options.to) })
  const part = `${options.file}.part`
  try {
    await pipeline(body, createWriteStream(part, { mode: 0o600 }))
    renameSync(part, options.file)
  } catch (error) {
    rmSync(part, { force: true })
    throw new CliError(`${options.file} could not be written: ${error instanceof Error ? error.message : String(error)}`)
  }
  const keys = await logKeys(where, zone.id)
  const bytes = statSync(options.file).size
  if (output.json) return output.line(JSON.stringify({ file: options.file, bytes, ...keys }))
  output.line(`${options.file}: ${bytes} bytes`)
  output.line(`verify it anywhere, offline: caracal audit verify --bundle ${options.file} --key '${keys.vkeys.at(-1) ?? ''}'`)
}

/** The log's origin and public keys, as the Audit service publishes them. */
export async function logKeys(where: Audit, zone: string): Promise<LogKeys> {
  return callService<LogKeys>(where.audit, where.token, `/v1/zones/${zone}/log/keys`)
}

export type VerifyOptions = {
  readonly bundle?: string
  readonly key?: string
  readonly zone?: string
  /** A file with a checkpoint that was kept. */
  readonly checkpoint?: string
  readonly whole?: boolean
}

/**
 * Verifies evidence. With a bundle: offline, with the given public key and nothing else. Without: exports the whole log of the zone and
 * verifies that with the given key, or with those the service publishes. With a checkpoint that was kept: that nothing of what it signed
 * is gone or different. Exit code 1 when anything is found.
 */
export async function verify({ output, context }: CommandContext, options: VerifyOptions): Promise<void> {
  const report = options.bundle === undefined ? await verifyLog(context(), options) : await verifyFile(options.bundle, options)
  if (output.json)
    output.line(JSON.stringify(report, (_, value) => (value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value)))
  else {
    output.line(verdict(report))
    if (report.checkpoint !== undefined)
      output.line(`  ${report.origin}, checkpoint of ${report.checkpoint.size} entries, signed by ${report.signedBy.join(', ')}`)
    for (const finding of report.findings) output.line(`  ${finding.kind}  ${placeOf(finding)}  ${finding.detail}`)
    output.line('This does not prove:')
    for (const limit of report.notProven) output.line(`  - ${limit}`)
  }
  if (!report.ok) throw new CliError('The evidence does not verify.')
}

function verdict({ ok, events, findingCount }: BundleReport): string {
  return ok
    ? colour('green', `verified: ${events} ${events === 1 ? 'event' : 'events'}`)
    : colour('red', `NOT verified: ${findingCount} ${findingCount === 1 ? 'finding' : 'findings'}`)
}

function placeOf({ place }: Finding): string {
  const { line, index, to, size } = place
  const parts = [
    ...(index === undefined ? [] : [to === undefined ? `index ${index}` : `indexes ${index} to ${to}`]),
    ...(size === undefined ? [] : [`size ${size}`]),
    ...(line === undefined ? [] : [`line ${line}`]),
  ]
  return parts.join(', ')
}

async function verifyFile(file: string, { key, checkpoint, whole }: VerifyOptions): Promise<BundleReport> {
  if (key === undefined)
    throw new CliError(
      'A bundle is verified with a public key from another place.',
      'Give it with --key (a vkey string, or a file that holds one).',
      { exitCode: 2 },
    )
  const keys = trustedKeys([key])
  const seen = keptCheckpoint(checkpoint, keys)
  try {
    return await verifyBundle(createReadStream(file), { keys, seen, whole })
  } catch (error) {
    if (error instanceof Error && 'code' in error) throw new CliError(`${file} cannot be read.`, undefined, { exitCode: 2 })
    throw error
  }
}

async function verifyLog(where: Audit & Parameters<typeof findZone>[0], options: VerifyOptions): Promise<BundleReport> {
  const zone = await findZone(where, options.zone)
  const { origin, vkeys } = await logKeys(where, zone.id)
  const keys = trustedKeys(options.key === undefined ? vkeys : [options.key])
  const seen = keptCheckpoint(options.checkpoint, keys)
  return await verifyBundle(await requestBundle(where, zone.id, {}), { keys, origin, seen, whole: true })
}

async function requestBundle(where: Audit, zone: string, range: { from?: number; to?: number }): Promise<Readable> {
  const answer = await request(`${where.audit}/v1/zones/${zone}/exports`, {
    method: 'POST',
    headers: { authorization: `Bearer ${where.token}`, 'content-type': 'application/json' },
    body: JSON.stringify(range),
  }).catch((error: Error) => {
    throw unreachable(where.audit, error)
  })
  if (answer.statusCode === 200) return answer.body
  throw problemError(answer.statusCode, await answer.body.text())
}

function indexOf(name: 'from' | 'to', text: string | undefined): { [_ in 'from' | 'to']?: number } {
  if (text === undefined) return {}
  if (!/^\d{1,15}$/.test(text)) throw new CliError(`--${name} is an index in the log: a whole number.`, undefined, { exitCode: 2 })
  return { [name]: Number(text) }
}

/** Keys are given as vkeys or as files that hold one each. */
function trustedKeys(given: readonly string[]): TrustedKey[] {
  return given.map((text) => {
    const verifier = parseVerifierKey(text.includes('+') ? text : readText(text).trim())
    if (verifier === undefined)
      throw new CliError(
        'The key is not a verifier key of the form name+id+key.',
        'The Audit service shows it at /v1/zones/{zone}/log/keys.',
        { exitCode: 2 },
      )
    return { verifier }
  })
}

/** The checkpoint in a file, signed by one of the keys. */
function keptCheckpoint(file: string | undefined, keys: readonly TrustedKey[]): Checkpoint | undefined {
  if (file === undefined) return undefined
  const opened = openCheckpoint(readText(file), keys[0]?.verifier.name ?? '', keys)
  if (!opened.ok) throw new CliError(`${file} is not a checkpoint of this log: ${opened.detail}.`, undefined, { exitCode: 2 })
  return opened.checkpoint
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw new CliError(`${file} cannot be read.`, undefined, { exitCode: 2 })
  }
}
