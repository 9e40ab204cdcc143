import { ok, type ProviderId, type Result, type ZoneId } from '@caracal/core'
import type { NewSecret } from '@caracal/postgres'
import type { Sealing } from '../sealing.ts'
import type { Holdings } from './holdings.ts'
import type { DocumentProblem } from './parse-documents.ts'
import type { PlacedDocument } from './place-documents.ts'
import type { NewIds } from './plan-row.ts'

/** What a provider's secret is, compared with the one that is stored; `secret` when it is to be written. */
export type SecretFinding = { readonly state: 'new' | 'other' | 'same'; readonly secret?: NewSecret; readonly value: string }

/** Longest secret, in UTF-16 units. */
const LONGEST = 16_384

/** Values that came beside the documents, as `env:NAME` and `file:path`. */
export type SecretValues = Readonly<Record<string, string>>

/** Which secret values the documents ask for and did not get, or got in a form that no header can carry. */
export function secretProblems(placed: readonly PlacedDocument[], values: SecretValues): DocumentProblem[] {
  return placed.flatMap(({ document }) => {
    if (document.kind !== 'Provider' || document.body.secret === undefined) return []
    const source = sourceOf(document.body.secret)
    const value = Object.hasOwn(values, source) ? values[source] : undefined
    const tell = (message: string) => [{ ...document.origin, field: 'secret', message }]
    if (value === undefined) return tell(`the value of ${source} did not come with the documents`)
    if (value === '' || value.length > LONGEST) return tell(`the value of ${source} must have 1 to ${LONGEST} characters`)
    // Bytes below the blank would end a header, and begin another.
    return [...value].some((character) => character < ' ' || character === '\u007f')
      ? tell(`the value of ${source} has control characters`)
      : []
  })
}

function sourceOf(secret: { readonly fromEnv: string } | { readonly fromFile: string }): string {
  return 'fromEnv' in secret ? `env:${secret.fromEnv}` : `file:${secret.fromFile}`
}

/**
 * Asks the STS whether secrets are other ones, and has those sealed (`seal`; a plan needs no envelopes). Before the transaction:
 * nothing waits for the network while rows are locked. A zone that does not exist yet has no pepper, so the digest of its
 * secrets is noted after the commit.
 */
export async function findSecrets(
  placed: readonly PlacedDocument[],
  holdings: ReadonlyMap<string, Holdings>,
  values: SecretValues,
  ids: NewIds,
  sealing: Sealing,
  seal: boolean,
): Promise<Result<ReadonlyMap<ProviderId, SecretFinding>>> {
  const found = new Map<ProviderId, SecretFinding>()
  for (const { document, zone: name } of placed) {
    if (document.kind !== 'Provider' || document.body.secret === undefined || document.body.method === 'none') continue
    const held = holdings.get(name)
    const zone: ZoneId = held?.zone.id ?? ids('zone', name, name)
    const provider = held?.providers.find((one) => one.name === document.body.name)?.id ?? ids('provider', name, document.body.name)
    const value = values[sourceOf(document.body.secret)] ?? ''
    const before = held?.secrets.get(provider)
    let digest: string | null = null
    // A plan of something new needs no comparison.
    if (held !== undefined && (seal || before !== undefined)) {
      const asked = await sealing.digestProviderSecret(zone, provider, value)
      if (!asked.ok) return asked
      digest = asked.value
    }
    if (before !== undefined && before.digest !== null && before.digest === digest) {
      found.set(provider, { state: 'same', value })
      continue
    }
    const state = before === undefined ? 'new' : 'other'
    if (!seal) {
      found.set(provider, { state, value })
      continue
    }
    const version = (before?.version ?? 0) + 1
    const sealed = await sealing.sealProviderSecret({ zone, provider, version }, value)
    if (!sealed.ok) return sealed
    found.set(provider, { state, value, secret: { sealed: sealed.value, version, digest } })
  }
  return ok(found)
}
