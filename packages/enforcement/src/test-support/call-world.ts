import { newId, type PolicyRule, type Resource, type RevocationKind, type ZoneSnapshot } from '@caracal/core'
import type { CallDependencies, CallVerdict, GovernedCall } from '../call/governed-call.ts'
import { mandateVerifier } from '../mandate/verify-mandate.ts'
import { parsePath } from '../operation/parse-path.ts'
import { ReplicaState } from '../replica/replica-state.ts'
import { RevocationView } from '../revocation/revocation-view.ts'
import type { TestStreams } from './streams-for-test.ts'
import { applicationNamed, claimsFor, resourceNamed, signingKey, signJws, zoneSnapshot } from './zone-for-test.ts'

export const now = 1_700_000_000
const key = signingKey()

/** A rule for everybody about everything, unless said otherwise. */
export function rule(over: Partial<PolicyRule> & Pick<PolicyRule, 'id' | 'effect'>): PolicyRule {
  return { scopes: ['*'], on: ['*'], for: { any: true }, ...over }
}

/** A policy set version of one document. */
export function policy(rules: readonly PolicyRule[], sha256 = JSON.stringify(rules)): ZoneSnapshot['policy'] {
  return { setVersion: newId('policySetVersion'), sha256, documents: [{ kind: 'Policy', name: 'main', rules }] }
}

export const allowAll = rule({ id: 'all', effect: 'allow' })

/** One zone with two applications and two resources, a fresh view, and the claims it holds in the shared store. */
export function callWorld(store: TestStreams, rules: readonly PolicyRule[] | null = [allowAll], resourceOver: Partial<Resource> = {}) {
  const clock = { ms: 0, wall: now * 1000 }
  const monotonic = () => clock.ms
  const id = newId('zone')
  const agent = applicationNamed(id, 'agent', ['finance'])
  const other = applicationNamed(id, 'other')
  const bank = resourceNamed(id, 'bank', resourceOver)
  const shop = resourceNamed(id, 'shop')
  const snapshot = zoneSnapshot({
    id,
    keys: [key.jwk],
    applications: [agent, other],
    resources: [bank, shop],
    policy: rules === null ? null : policy(rules),
  })
  const state = new ReplicaState({ monotonic })
  state.apply(snapshot)
  state.confirm()
  const view = new RevocationView({ monotonic })
  view.startLoading().finish({ position: '7', entries: [] })
  const claims = new Map<string, string>()
  const dependencies: CallDependencies = {
    state,
    view,
    verifier: mandateVerifier({ keyring: (zone) => state.zone(zone)?.keyring }),
    claim: async (name, owner, ttl) => {
      const got = await store.streams.claim(name, owner, ttl)
      if (got) claims.set(name, owner)
      return got
    },
    release: async (name, owner) => {
      await store.streams.release(name, owner)
      claims.delete(name)
    },
    clock: () => clock.wall,
  }
  const token = (over: Record<string, unknown> = {}, application = agent) => signJws(key, claimsFor(snapshot, application.id, now, over))
  let bodiesRead = 0
  function call(over: Partial<Omit<GovernedCall, 'path' | 'body'>> & { path?: string; body?: unknown } = {}): GovernedCall {
    const path = parsePath(over.path ?? '/items/7')
    if (!path.ok) throw new Error('bad path')
    return {
      requestId: newId('request'),
      ...(over.caller === undefined ? { token: over.token ?? token() } : { caller: over.caller }),
      route: over.route ?? { by: 'name', value: 'bank' },
      method: over.method ?? 'GET',
      path: path.value,
      query: over.query ?? {},
      headers: over.headers ?? {},
      body: async () => {
        bodiesRead++
        return over.body ?? null
      },
      peer: '192.0.2.1',
      proof: over.proof,
    }
  }
  const revoke = (revoked: string, kind: RevocationKind = 'session') =>
    view.apply({ v: 1, op: 'revoke', kind, id: revoked, zone: id, at: 0, reason: 'test' })
  return { clock, snapshot, agent, other, bank, state, view, claims, dependencies, token, call, revoke, bodiesRead: () => bodiesRead }
}

/** `allow`, or why not. */
export const said = (verdict: CallVerdict) => (verdict.decision === 'allow' ? 'allow' : verdict.refusal.reason)

export type CallWorld = ReturnType<typeof callWorld>
