import { newId, type Reason } from '@caracal/core'
import { RevocationView } from '@caracal/enforcement'
import { describe, expect, it } from 'vitest'
import { LiveCalls } from './live-calls.ts'

function setUp() {
  let now = 1_000_000
  let monotonic = 0
  const view = new RevocationView({ monotonic: () => monotonic, maxAge: 5 })
  view.startLoading().finish({ position: '0', entries: [] })
  const calls = new LiveCalls({ watch: (ids, cut) => view.watch(ids, cut), clock: () => now })
  const cuts: [string, Reason][] = []
  const zone = newId('zone')
  const unallowed = new Map<string, Reason>()
  const add = (name: string, ids: readonly string[], endsIn = 300_000, of = zone) =>
    calls.add({
      ids,
      zone: of,
      endsAt: now + endsIn,
      unallowed: () => unallowed.get(name) ?? null,
      cut: (reason) => cuts.push([name, reason]),
    })
  const revoke = (kind: 'session' | 'delegation' | 'application' | 'subject' | 'mandate' | 'zone', id: string) =>
    view.apply({ op: 'revoke', kind, id, zone: newId('zone'), at: now, reason: 'test' } as unknown as Parameters<typeof view.apply>[0])
  return {
    view,
    calls,
    cuts,
    zone,
    unallowed,
    add,
    revoke,
    pass: (ms: number) => {
      now += ms
      monotonic += ms
      calls.tick()
    },
  }
}

describe('LiveCalls', () => {
  it('[P-060] a zone that changed cuts the calls that it does not allow any more, and no other', () => {
    const { calls, cuts, add, zone, unallowed } = setUp()
    const elsewhere = newId('zone')
    add('allowed', ['x'])
    add('denied', ['x'])
    add('held', ['x'])
    add('denied elsewhere', ['x'], 300_000, elsewhere)
    unallowed.set('denied', 'no_rule_allows').set('held', 'approval_required').set('denied elsewhere', 'no_rule_allows')
    calls.recheck(zone)
    expect(cuts).toEqual([
      ['denied', 'no_rule_allows'],
      ['held', 'approval_required'],
    ])
    calls.recheck(zone)
    expect(calls.size).toBe(2)
    calls.close()
  })

  it('a revoked id of any kind cuts every call that names it, at once, and no other', () => {
    for (const kind of ['session', 'delegation', 'application', 'subject', 'mandate', 'zone'] as const) {
      const { calls, cuts, add, revoke } = setUp()
      add('one', ['x', 'shared'])
      add('two', ['shared', 'y'])
      add('three', ['y', 'z'])
      revoke(kind, 'shared')
      expect(cuts).toEqual([
        ['one', 'token_revoked'],
        ['two', 'token_revoked'],
      ])
      expect(calls.size).toBe(1)
      calls.close()
    }
  })

  it('a call that names what is revoked already is cut as it comes in', () => {
    const { calls, cuts, add, revoke } = setUp()
    revoke('session', 's')
    add('late', ['s'])
    expect(cuts).toEqual([['late', 'token_revoked']])
    expect(calls.size).toBe(0)
    calls.close()
  })

  it('a call is cut within a tenth of a second after its mandate ends, never before', () => {
    const { calls, cuts, add, pass } = setUp()
    add('short', ['a'], 250)
    add('long', ['a'], 60_000)
    add('over', ['a'], -5_000)
    pass(100)
    expect(cuts).toEqual([['over', 'token_expired']])
    pass(149)
    expect(cuts).toHaveLength(1)
    pass(101)
    expect(cuts.at(-1)).toEqual(['short', 'token_expired'])
    pass(3_600_000)
    expect(cuts.at(-1)).toEqual(['long', 'token_expired'])
    expect(calls.size).toBe(0)
    calls.close()
  })

  it('a view that cannot vouch any more cuts everything, and so does a stop', () => {
    const { view, calls, cuts, add, pass } = setUp()
    add('one', ['a'])
    pass(5_001)
    view.tick()
    add('two', ['b'])
    calls.cutAll('draining')
    expect(cuts).toEqual([
      ['one', 'revocation_view_stale'],
      ['two', 'draining'],
    ])
    expect(view.watched()).toBe(0)
    calls.close()
  })

  it('a call that has ended is cut by nothing', () => {
    const { view, calls, cuts, add, revoke, pass } = setUp()
    const ended = add('one', ['a'], 100)
    ended()
    ended()
    revoke('session', 'a')
    pass(1_000)
    calls.cutAll('draining')
    expect(cuts).toEqual([])
    expect(view.watched()).toBe(0)
    calls.close()
  })
})
