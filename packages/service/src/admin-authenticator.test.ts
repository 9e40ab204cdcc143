import { createHash } from 'node:crypto'
import { type AdminToken, newId } from '@caracal/core'
import { describe, expect, it } from 'vitest'
import { createAdminAuthenticator, createFailureThrottle, role, roleInAnyZone } from './index.ts'
import { authorize, holdsRole } from './who.ts'

const GOOD = `cat_${'a'.repeat(43)}`
const BOOTSTRAP = 'bootstrap-value-of-the-deployment'
const token: AdminToken = { id: newId('token'), name: 'ci', roles: ['viewer'], zone: null, createdAt: 0, expiresAt: 1_000_000 }

function setup() {
  const state = { now: 0, lookups: 0, present: true }
  const authenticator = createAdminAuthenticator({
    deployment: [
      {
        principal: { kind: 'admin', id: 'bootstrap', name: 'bootstrap', roles: ['admin'], zone: null },
        values: () => [BOOTSTRAP, 'older-value'],
      },
    ],
    lookup: async (hex) => {
      state.lookups += 1
      return state.present && hex === createHash('sha256').update(GOOD).digest('hex') ? token : null
    },
    now: () => state.now,
  })
  const ask = (authorization: string | undefined, source = '10.0.0.1') =>
    authenticator.authenticate({ authorization, headers: {}, method: 'GET', url: '/', source, who: [] })
  return { state, ask }
}

describe('admin tokens', () => {
  it('are found by digest, believed for five seconds and end with their expiry', async () => {
    const { state, ask } = setup()
    expect(await ask(`Bearer ${GOOD}`)).toMatchObject({ ok: true, value: { kind: 'admin', id: token.id, roles: ['viewer'] } })
    await ask(`bearer ${GOOD}`)
    expect(state.lookups).toBe(1)
    state.present = false
    state.now = 5_001
    expect(await ask(`Bearer ${GOOD}`)).toMatchObject({ ok: false, reason: 'unauthenticated' })
    state.present = true
    state.now = 1_000_000
    expect(await ask(`Bearer ${GOOD}`)).toMatchObject({ ok: false })
  })

  it('of the deployment need no lookup, both values during rotation', async () => {
    const { state, ask } = setup()
    expect(await ask(`Bearer ${BOOTSTRAP}`)).toMatchObject({ ok: true, value: { id: 'bootstrap' } })
    expect(await ask('Bearer older-value')).toMatchObject({ ok: true, value: { id: 'bootstrap' } })
    expect(state.lookups).toBe(0)
  })

  it.each([[undefined], [''], ['Bearer'], ['Basic YTpi'], [`Bearer ${GOOD} x`], ['Bearer x'], [`Token ${GOOD}`], [`Bearer ${GOOD}x`]])(
    'are refused as %j',
    async (authorization) => {
      const { state, ask } = setup()
      expect(await ask(authorization)).toMatchObject({ ok: false, reason: 'unauthenticated' })
      expect(state.lookups).toBe(0)
    },
  )

  it('[P-010] throttles who fails, while a correct credential passes at once from the same source', async () => {
    const { ask } = setup()
    const reasons = new Set<string>()
    for (let i = 0; i < 10_000; i += 1) {
      const result = await ask(`Bearer cat_${String(i).padStart(43, 'b')}`, '10.9.9.9')
      if (!result.ok) reasons.add(result.reason)
    }
    expect([...reasons]).toEqual(['unauthenticated', 'rate_limited'])
    expect(await ask(`Bearer ${GOOD}`, '10.9.9.9')).toMatchObject({ ok: true })
    expect(await ask('Bearer x', '10.0.0.2')).toMatchObject({ reason: 'unauthenticated' })
  })
})

describe('throttle', () => {
  it('forgives with time and never makes anybody wait longer than half a minute', () => {
    let now = 0
    const throttle = createFailureThrottle({ allowance: 2, leak: 3, now: () => now })
    expect([throttle.failed('a'), throttle.failed('a'), throttle.failed('a')]).toEqual([0, 0, 3])
    for (let i = 0; i < 1_000; i += 1) throttle.failed('a')
    expect(throttle.waits('a')).toBe(30)
    now += 30_000
    expect(throttle.waits('a')).toBe(0)
  })
})

describe('roles', () => {
  it('[P-122] none implies another; admin covers all but approver', () => {
    const roles = ['viewer', 'operator', 'policy_author', 'approver', 'auditor', 'admin'] as const
    for (const held of roles) {
      for (const wanted of roles) {
        expect([held, wanted, holdsRole([held], [wanted])]).toEqual([
          held,
          wanted,
          held === wanted || (held === 'admin' && wanted !== 'approver'),
        ])
      }
    }
  })

  it('reach only their zone', () => {
    const zone = newId('zone')
    const other = newId('zone')
    const mine = { kind: 'admin', id: 'bootstrap', name: '', roles: ['viewer'], zone } as const
    const everywhere = { ...mine, zone: null }
    expect(authorize([role('viewer')], mine, zone)).toBe('allowed')
    expect(authorize([role('viewer')], mine, other)).toBe('foreign')
    expect(authorize([role('viewer')], mine, null)).toBe('forbidden')
    expect(authorize([roleInAnyZone('viewer')], mine, null)).toBe('allowed')
    expect(authorize([role('viewer')], everywhere, other)).toBe('allowed')
    expect(authorize([role('operator')], everywhere, other)).toBe('forbidden')
  })
})
