import type { WorkStream } from '@caracal/core'
import type { Database, PreparedStatement } from '@caracal/postgres'
import type { Seal } from './message-authentication.ts'
import type { Claim } from './wanted-claim.ts'

export type WorkEntry = { readonly partition: string; readonly payload: string; readonly seal: Seal }

const ADDED = 'INSERT INTO stream_work (stream, partition, payload, key_id, mac)'
/** One entry is its values as they are: in an array each character would be looked at twice, to escape it and to undo that. */
const ONE = 'SELECT $1::text, $2::text, $3::text, $4::text, $5::text'
const MANY = `SELECT $1::text, partition, payload, key_id, mac
  FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS entry (partition, payload, key_id, mac, at)`
/**
 * Keys are taken in one order, so that two processes never wait for each other. A key that has run out is free, whoever had it.
 * Parameters: keys, owners, seconds.
 */
const held = (first: number) => `WITH wanted AS (
  SELECT * FROM unnest($${first}::text[], $${first + 1}::text[], $${first + 2}::float8[]) AS w (key, owner, ttl)
), held AS (
  INSERT INTO stream_claims AS held (key, owner, expires_at)
  SELECT key, owner, now() + ttl * interval '1 second' FROM wanted ORDER BY key COLLATE "C"
  ON CONFLICT (key) DO UPDATE SET
    owner = CASE WHEN held.expires_at <= now() THEN excluded.owner ELSE held.owner END,
    expires_at = CASE WHEN held.expires_at <= now() THEN excluded.expires_at ELSE held.expires_at END
  RETURNING key, owner
), lost AS MATERIALIZED (
  SELECT held.key FROM held JOIN wanted USING (key) WHERE held.owner <> wanted.owner
)`

const CLAIM: PreparedStatement = { name: 'caracal_claim', text: `${held(1)} SELECT key FROM lost` }
const APPEND_ONE: PreparedStatement = { name: 'caracal_append_one', text: `${ADDED} ${ONE}` }
const APPEND_MANY: PreparedStatement = { name: 'caracal_append_many', text: `${ADDED} ${MANY} ORDER BY at` }
const CLAIM_AND_APPEND_ONE: PreparedStatement = {
  name: 'caracal_claim_append_one',
  text: `${held(6)}, added AS (${ADDED} ${ONE} WHERE NOT EXISTS (SELECT 1 FROM lost)) SELECT key FROM lost`,
}
const CLAIM_AND_APPEND_MANY: PreparedStatement = {
  name: 'caracal_claim_append_many',
  text: `${held(6)}, added AS (${ADDED} ${MANY} WHERE NOT EXISTS (SELECT 1 FROM lost) ORDER BY at) SELECT key FROM lost`,
}

/** One statement: all or nothing, in order. Who reads the stream is not told. */
export async function appendToPostgres(database: Database, stream: WorkStream, entries: readonly WorkEntry[]): Promise<void> {
  if (entries.length === 0) return
  await database.prepared(entries.length === 1 ? APPEND_ONE : APPEND_MANY, valuesOf(stream, entries))
}

/** Claims, and appends if nobody else has one of the keys, in one statement. Returns the keys that others have. No key may stand twice. */
export async function appendClaimingToPostgres(
  database: Database,
  stream: WorkStream,
  entries: readonly WorkEntry[],
  claims: readonly Claim[],
): Promise<ReadonlySet<string>> {
  if (claims.length === 0) {
    await appendToPostgres(database, stream, entries)
    return NONE
  }
  const statement = entries.length === 1 ? CLAIM_AND_APPEND_ONE : CLAIM_AND_APPEND_MANY
  const lost = await database.prepared<{ key: string }>(statement, [...valuesOf(stream, entries), ...claimValues(claims)])
  return lost.length === 0 ? NONE : new Set(lost.map(({ key }) => key))
}

/** Claims these keys. Returns those that others have. No key may stand twice. */
export async function claimInPostgres(database: Database, claims: readonly Claim[]): Promise<ReadonlySet<string>> {
  const lost = await database.prepared<{ key: string }>(CLAIM, claimValues(claims))
  return lost.length === 0 ? NONE : new Set(lost.map(({ key }) => key))
}

const NONE: ReadonlySet<string> = new Set()

function valuesOf(stream: WorkStream, entries: readonly WorkEntry[]): readonly unknown[] {
  const [one] = entries
  if (one !== undefined && entries.length === 1) return [stream, one.partition, one.payload, one.seal.key, one.seal.mac]
  return [
    stream,
    entries.map(({ partition }) => partition),
    entries.map(({ payload }) => payload),
    entries.map(({ seal }) => seal.key),
    entries.map(({ seal }) => seal.mac),
  ]
}

function claimValues(claims: readonly Claim[]): readonly unknown[] {
  return [claims.map(({ key }) => key), claims.map(({ owner }) => owner), claims.map(({ ttl }) => ttl)]
}
