import { newId, type PolicyRule, type ZoneSnapshot } from '@caracal/core'
import { describe, expect, it } from 'vitest'
import { applicationNamed, resourceNamed, signingKey, zoneSnapshot } from '../test-support/zone-for-test.ts'
import { ReplicaState } from './replica-state.ts'

function policy(when?: string): NonNullable<ZoneSnapshot['policy']> {
  const rule: PolicyRule = {
    id: 'r',
    effect: 'allow',
    scopes: ['*'],
    on: ['*'],
    for: { any: true },
    ...(when === undefined ? {} : { when }),
  }
  return { setVersion: newId('policySetVersion'), sha256: String(when), documents: [{ kind: 'Policy', name: 'p', rules: [rule] }] }
}

describe('the zones of a replica', () => {
  it('are found by every key that callers have', () => {
    const state = new ReplicaState()
    const id = newId('zone')
    const agent = applicationNamed(id, 'agent')
    const bank = resourceNamed(id, 'bank')
    state.apply(zoneSnapshot({ id, applications: [agent], resources: [bank] }))
    const zone = state.zone(id)
    expect(zone?.applications.get(agent.id)).toBe(agent)
    expect(zone?.applicationsByName.get('agent')).toBe(agent)
    expect(zone?.resources.get(bank.id)).toBe(bank)
    expect(zone?.resourcesByName.get('bank')).toBe(bank)
    expect(zone?.resourcesByIdentifier.get('https://bank.example/')).toBe(bank)
    expect(zone?.resourcesByName.get(bank.id)).toBeUndefined()
  })

  it('never go back to an older version, whatever order loads finish in', () => {
    const state = new ReplicaState()
    const zone = zoneSnapshot({ version: 5 })
    expect(state.apply(zone)).toBe('applied')
    expect(state.apply({ ...zone, version: 4, name: 'old' })).toBe('older')
    expect(state.zone(zone.id)?.snapshot.version).toBe(5)
  })

  it('a version that does not compile refuses: neither the one before nor none is served [P-024]', () => {
    const state = new ReplicaState()
    const zone = zoneSnapshot({ policy: policy() })
    state.apply(zone)
    expect(state.zone(zone.id)?.policy.kind).toBe('active')
    state.apply({ ...zone, version: 2, policy: policy('nonsense(') })
    expect(state.zone(zone.id)?.policy.kind).toBe('failed')
    expect(state.loaded()[zone.id]).toMatchObject({ version: 2, policy: null, error: expect.any(String) })
    const good = policy()
    state.apply({ ...zone, version: 3, policy: good })
    expect(state.loaded()[zone.id]).toEqual({ version: 3, policy: good.setVersion })
  })

  it('a newer version that cannot be loaded refuses until it can, and no failure is kept [P-024]', () => {
    const state = new ReplicaState()
    const zone = zoneSnapshot({ policy: policy() })
    state.apply(zone)
    state.fail(zone.id, 'the source is away')
    expect(state.zone(zone.id)?.policy).toEqual({ kind: 'failed', error: 'the source is away' })
    state.apply(zone)
    expect(state.zone(zone.id)?.policy.kind).toBe('active')
  })

  it('keep what was compiled and verified when it did not change [P-168]', () => {
    const state = new ReplicaState()
    const zone = zoneSnapshot({ keys: [signingKey().jwk], policy: policy() })
    state.apply(zone)
    const before = state.zone(zone.id)
    state.apply({ ...zone, version: 2, name: 'renamed' })
    const after = state.zone(zone.id)
    expect(after?.keyring).toBe(before?.keyring)
    expect(after?.policy).toBe(before?.policy)
    expect(after?.decisions).not.toBe(before?.decisions)
  })

  it('a resource whose operations cannot be read fails alone', () => {
    const state = new ReplicaState()
    const id = newId('zone')
    const bad = resourceNamed(id, 'bad', { operations: [{ method: 'GET', path: 'nonsense', scope: 'read' }] })
    const good = resourceNamed(id, 'good')
    state.apply(zoneSnapshot({ id, resources: [bad, good] }))
    expect(state.zone(id)?.operations.get(bad.id)?.ok).toBe(false)
    expect(state.zone(id)?.operations.get(good.id)?.ok).toBe(true)
  })

  it('serve ten minutes without their source [P-012]', () => {
    const clock = { ms: 0 }
    const state = new ReplicaState({ monotonic: () => clock.ms })
    expect(state.standing()).toBe('empty')
    state.confirm()
    clock.ms = 600_000
    expect(state.standing()).toBe('current')
    clock.ms += 1
    expect(state.standing()).toBe('outdated')
    state.confirm(500_000)
    expect(state.standing()).toBe('current')
  })

  it('serve without their source as long as they are told, and know when it did not answer [4-16]', () => {
    const clock = { ms: 0 }
    const state = new ReplicaState({ monotonic: () => clock.ms, maxUnconfirmed: 60 })
    state.confirm()
    clock.ms = 60_000
    expect([state.standing(), state.doubted()]).toEqual(['current', false])
    state.doubt()
    expect([state.standing(), state.doubted()]).toEqual(['current', true])
    clock.ms += 1
    expect(state.standing()).toBe('outdated')
    state.confirm()
    expect([state.standing(), state.doubted()]).toEqual(['current', false])
  })
})
