import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto'
import {
  type Application,
  type ApplicationId,
  type Delegation,
  type MandateClaims,
  newId,
  type PolicyRule,
  type PublicJwk,
  RESOURCE_DEFAULTS,
  type Resource,
  type Scope,
  type Session,
} from '@caracal/core'
import { mandateVerifier, RevocationView } from '@caracal/enforcement'
import { digestClientSecret } from '../client/client-secret.ts'
import { mintWith } from '../mint/mint.ts'
import { lineageReader } from '../zones/lineage-reader.ts'
import { type ZoneState, zoneState } from '../zones/zone-state.ts'

export const SCOPES: readonly Scope[] = ['a', 'b', 'c', 'd']
export const NOW = 1_800_000_000_000
const ISSUER = 'https://sts.example/zones/z'
const stored = { version: 1, createdAt: 0, updatedAt: 0 }

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const { crv, kty, x, y } = publicKey.export({ format: 'jwk' })
const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url')
const jwk: PublicJwk = { kty: 'EC', crv: 'P-256', x: x ?? '', y: y ?? '', kid, alg: 'ES256', use: 'sig' }
const pepper = randomBytes(32)

/** Rows as they may come to be, wider than what is above them too: a mint must not rely on whoever wrote them. */
export type Rows = { readonly sessions: Map<string, Session>; readonly delegations: Map<string, Delegation> }

/** What came of one mint: the mandate, or why not. */
export type Minted =
  | { readonly ok: true; readonly token: string; readonly claims: MandateClaims }
  | { readonly ok: false; readonly reason: string }

/** The steps of a real mint over rows in memory: every step of it, with real signatures, without a network. */
export function mintModel(applications: readonly { readonly name: string; readonly labels: readonly string[] }[], once: boolean) {
  const zone = newId('zone')
  const members: Application[] = applications.map((one) => ({ ...stored, ...one, id: newId('application'), zone }))
  const resources: Resource[] = ['one', 'two'].map((name) => ({
    ...stored,
    ...RESOURCE_DEFAULTS,
    id: newId('resource'),
    zone,
    name,
    kind: 'http',
    identifier: `https://${name}.example/`,
    upstream: 'https://up.example',
    scopes: name === 'one' ? SCOPES : SCOPES.slice(0, 2),
    operations: [],
    provider: null,
    egressAllow: [],
    once: once && name === 'two',
  }))
  const rows: Rows = { sessions: new Map(), delegations: new Map() }
  const clock = { now: NOW }
  const view = new RevocationView({ monotonic: () => 0 })
  view.startLoading().finish({ position: '0', entries: [] })
  const signer = { kid, key: privateKey }
  let state: ZoneState
  const rules = (list: readonly PolicyRule[]) => {
    const documents = [{ kind: 'Policy' as const, name: 'p', rules: list }]
    const policy = { setVersion: newId('policySetVersion'), sha256: JSON.stringify(list), documents }
    state = zoneState({
      snapshot: {
        id: zone,
        name: 'z',
        labels: [],
        issuer: ISSUER,
        issuerAliases: [],
        keys: [jwk],
        version: 1,
        applications: members,
        resources,
        providers: [],
        policy,
      },
      credentials: members.map(({ id }) => ({
        id: newId('credential'),
        application: id,
        zone,
        createdAt: 0,
        expiresAt: null,
        kind: 'secret',
        digest: digestClientSecret(pepper, `secret of ${id}`),
      })),
      providerSecrets: new Map(),
      keys: [],
      sealed: {
        pepper: { kid: 'pepper', opened: () => pepper, failed: () => false },
        signer: { kid, opened: () => signer, failed: () => false },
      },
      logKeys: [],
    })
  }
  rules([])
  const recorded: unknown[] = []
  const found = <R>(from: ReadonlyMap<string, R>, ids: readonly string[]) => ids.flatMap((id) => from.get(id) ?? [])
  const mint = mintWith({
    clock: () => clock.now,
    zones: {
      get: () => state,
      ofApplication: (id: ApplicationId) => (members.some((one) => one.id === id) ? state : undefined),
      all: () => [state],
      check: async () => false,
      refresh: async () => false,
    },
    revocations: view,
    streams: { claim: async () => true },
    throttle: { failed: () => 0 },
    mandates: mandateVerifier({ keyring: () => state.keyring }),
    lineages: lineageReader({
      sessions: async (_zone, ids) => found(rows.sessions, ids),
      delegations: async (_zone, ids) => found(rows.delegations, ids),
    }),
    evidence: { record: async (event) => `recorded ${recorded.push(event)}` },
  })
  return {
    zone,
    members,
    resources,
    rows,
    clock,
    view,
    rules,
    recorded,
    async mint(client: ApplicationId, fields: readonly (readonly [string, string])[]): Promise<Minted> {
      const form = new Map<string, string[]>()
      const all = [...fields, ['client_id', client], ['client_secret', `secret of ${client}`]] as const
      for (const [name, value] of all) form.set(name, [...(form.get(name) ?? []), value])
      const call = {
        form,
        authorization: undefined,
        source: '192.0.2.1',
        requestId: newId('request'),
        clientRequestId: undefined,
        traceId: undefined,
      }
      const done = await mint.run(call)
      return done.passed ? { ok: true, token: done.so.token, claims: done.so.claims } : { ok: false, reason: done.refusal.reason }
    },
    revoke: (id: string, kind: 'session' | 'delegation' | 'mandate' | 'application') =>
      view.apply({ v: 1, op: 'revoke', kind, id, zone, at: clock.now, reason: 'test' }),
  }
}

export type MintModel = ReturnType<typeof mintModel>
