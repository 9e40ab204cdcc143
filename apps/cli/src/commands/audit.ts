import { readFileSync, writeFileSync } from 'node:fs'
import { verifyBundle } from '@caracal/ledger'
import { request } from 'undici'
import { callService } from '../api-client.ts'
import { CliError } from '../cli-error.ts'
import { colour } from '../output.ts'
import type { CommandContext } from './command.ts'
import { findZone } from './find.ts'

export type LogKeys = { readonly origin: string; readonly vkeys: readonly string[] }

/** Downloads a signed evidence bundle: a range of the zone's log with everything an offline verifier needs. */
export async function exportBundle(
  { output, context }: CommandContext,
  options: { zone?: string; file: string; from?: string; to?: string },
): Promise<void> {
  const where = context()
  const zone = await findZone(where, options.zone)
  const answer = await request(`${where.audit}/v1/zones/${zone.id}/exports`, {
    method: 'POST',
    headers: { authorization: `Bearer ${where.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ ...(options.from ? { from: Number(options.from) } : {}), ...(options.to ? { to: Number(options.to) } : {}) }),
  })
  const text = await answer.body.text()
  if (answer.statusCode !== 200) throw new CliError(`The export was refused (${answer.statusCode}): ${text.slice(0, 300)}`)
  writeFileSync(options.file, text, { mode: 0o600 })
  const { keys } = { keys: await logKeys(where, zone.id) }
  if (output.json) return output.line(JSON.stringify({ file: options.file, bytes: text.length, ...keys }))
  output.line(`${options.file}: ${text.length} bytes`)
  output.line(`verify it anywhere, offline: caracal audit verify --bundle ${options.file} --key '${keys.vkeys[0] ?? ''}'`)
}

/** The log's origin and public keys, as the Audit service publishes them. */
export async function logKeys(where: { readonly audit: string; readonly token: string }, zone: string): Promise<LogKeys> {
  return callService<LogKeys>(where.audit, where.token, `/v1/zones/${zone}/log/keys`)
}

/**
 * Verifies evidence. With a bundle: offline, with the given public key and nothing else. Without: exports the whole log of the zone and
 * verifies that with the key the service publishes. Exit code 1 when anything is found.
 */
export async function verify(
  { output, context }: CommandContext,
  options: { bundle?: string; key?: string; zone?: string },
): Promise<void> {
  const { text, keys } =
    options.bundle === undefined
      ? await fetchWhole(context, options)
      : { text: readBundle(options.bundle), keys: options.key ? [options.key] : [] }
  if (keys.length === 0)
    throw new CliError(
      'A bundle is verified with a public key from another place.',
      'Give it with --key (a vkey string, or a file that holds one).',
      { exitCode: 2 },
    )
  const verdict = verifyBundle(text, keys.map(vkeyOf))
  if (output.json) output.line(JSON.stringify(verdict))
  else {
    output.line(
      verdict.ok
        ? colour('green', `verified: ${verdict.events} events`)
        : colour('red', `NOT verified: ${verdict.findings.length} findings`),
    )
    for (const finding of verdict.findings) output.line(`  ${finding.kind}  ${finding.place}  ${finding.detail}`)
    output.line('This does not prove:')
    for (const limit of verdict.doesNotProve) output.line(`  - ${limit}`)
  }
  if (!verdict.ok) throw new CliError('The evidence does not verify.')
}

function readBundle(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    throw new CliError(`${file} cannot be read.`, undefined, { exitCode: 2 })
  }
}

/** A key is given as the vkey itself or as a file that holds it. */
function vkeyOf(text: string): string {
  return text.includes('+') ? text : readBundle(text).trim()
}

async function fetchWhole(
  context: CommandContext['context'],
  options: { zone?: string; key?: string },
): Promise<{ text: string; keys: readonly string[] }> {
  const where = context()
  const zone = await findZone(where, options.zone)
  const answer = await request(`${where.audit}/v1/zones/${zone.id}/exports`, {
    method: 'POST',
    headers: { authorization: `Bearer ${where.token}`, 'content-type': 'application/json' },
    body: '{}',
  })
  if (answer.statusCode !== 200) throw new CliError(`The log cannot be read (${answer.statusCode}).`)
  return { text: await answer.body.text(), keys: options.key ? [options.key] : (await logKeys(where, zone.id)).vkeys }
}
