import { type DelegationId, type MandateId, newId, type SessionId } from '@caracal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { joinLineage } from './lineage.ts'

const noise = new Uint8Array(10)
const session = (n: number): SessionId => newId('session', n, noise)
const delegation = (n: number): DelegationId => newId('delegation', n, noise)
const mandate = (n: number): MandateId => newId('mandate', n, noise)
const sessions = fc.uniqueArray(fc.nat(12).map(session), { maxLength: 6 })
const delegations = fc.uniqueArray(fc.nat(12).map(delegation), { maxLength: 6 })
const mandates = fc.uniqueArray(fc.nat(12).map(mandate), { maxLength: 6 })

describe('the lineage of a mandate', () => {
  it('holds every id of everything it stands on, once, at most ten of a kind, or is refused [P-038]', () => {
    fc.assert(
      fc.property(sessions, sessions, sessions, delegations, delegations, mandates, (own, from, ses, lineage, dlg, mnd) => {
        const jti = mandate(99)
        const result = joinLineage({
          session: { lineage: own },
          delegation: { fromLineage: from, lineage },
          parent: { ses, dlg, mnd, jti },
        })
        const all = { ses: new Set([...ses, ...from, ...own]), dlg: new Set([...dlg, ...lineage]), mnd: new Set([...mnd, jti]) }
        const deepest = Math.max(all.ses.size, all.dlg.size, all.mnd.size)
        if (!result.ok) {
          expect(deepest).toBeGreaterThan(10)
          return
        }
        expect(deepest).toBeLessThanOrEqual(10)
        for (const kind of ['ses', 'dlg', 'mnd'] as const) {
          expect(new Set<string>(result.value[kind])).toEqual(all[kind])
          expect(result.value[kind]).toHaveLength(all[kind].size)
        }
        if (own.length > 0) expect(result.value.ses.slice(-own.length)).toEqual(own)
      }),
    )
  })

  it('puts the delegator before the own session, and the parent mandate under mnd', () => {
    const result = joinLineage({
      session: { lineage: [session(3), session(4)] },
      delegation: { fromLineage: [session(1), session(2)], lineage: [delegation(1)] },
      parent: { jti: mandate(7), mnd: [mandate(6)] },
    })
    expect(result).toEqual({
      ok: true,
      value: { ses: [session(1), session(2), session(3), session(4)], dlg: [delegation(1)], mnd: [mandate(6), mandate(7)] },
    })
  })

  it('is empty for direct authority', () => {
    expect(joinLineage({})).toEqual({ ok: true, value: { ses: [], dlg: [], mnd: [] } })
  })
})
