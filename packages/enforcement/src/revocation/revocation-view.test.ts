import { newId, REVOCATION_KINDS, type Revocation, type RevocationKind } from '@caracal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Cut, REVOCATION_RETENTION, RevocationView } from './revocation-view.ts'

const zone = newId('zone')

function revocation(id: string, op: 'revoke' | 'lift' = 'revoke', kind: RevocationKind = 'session', at = 0): Revocation {
  return { v: 1, op, kind, id, zone, at, reason: 'test' }
}

/** A view on a clock that is turned by hand, loaded and fresh. */
function view(options: { capacity?: number; entries?: readonly Revocation[] } = {}) {
  const clock = { ms: 0 }
  const made = new RevocationView({ monotonic: () => clock.ms, ...(options.capacity === undefined ? {} : { capacity: options.capacity }) })
  made.startLoading().finish({ position: '', entries: options.entries ?? [] })
  return { view: made, turn: (seconds: number) => (clock.ms += seconds * 1000) }
}

describe('what is revoked', () => {
  it.each(REVOCATION_KINDS)('takes every kind alike: %s [P-054] [P-176]', (kind) => {
    const { view: v } = view()
    const cuts: Cut[] = []
    v.watch(['ses_other', 'id_1'], (why) => cuts.push(why))
    expect(v.isRevoked(['ses_other', 'id_1'])).toBeNull()
    v.apply(revocation('id_1', 'revoke', kind))
    expect(v.isRevoked(['ses_other', 'id_1'])).toBe('id_1')
    expect(cuts).toEqual([{ reason: 'token_revoked', id: 'id_1' }])
    v.apply(revocation('id_1', 'lift', kind))
    expect(v.isRevoked(['ses_other', 'id_1'])).toBeNull()
  })

  it('is exactly the descendants of what was revoked [P-053]', () => {
    // A forest: each node names its parent by index; the lineage of a node is all its ancestors and itself.
    const forest = fc.array(fc.nat(), { minLength: 1, maxLength: 60 })
    fc.assert(
      fc.property(forest, fc.array(fc.nat(59)), (parents, revoked) => {
        const lineages: string[][] = []
        for (const [at, parent] of parents.entries())
          lineages.push([...(at === 0 || parent % 4 === 0 ? [] : (lineages[parent % at] ?? [])), `n${at}`])
        const { view: v } = view()
        for (const n of revoked) v.apply(revocation(`n${n}`))
        const dead = new Set(revoked.map((n) => `n${n}`))
        for (const lineage of lineages) expect(v.isRevoked(lineage) !== null).toBe(lineage.some((id) => dead.has(id)))
      }),
    )
  })

  it('stays until no mandate that names it can live [P-058]', () => {
    const { view: v, turn } = view()
    v.apply(revocation('ses_1'))
    v.apply(revocation('app_1', 'revoke', 'application'))
    turn(REVOCATION_RETENTION - 1)
    v.tick()
    expect(v.isRevoked(['ses_1'])).toBe('ses_1')
    turn(2)
    v.tick()
    expect(v.isRevoked(['ses_1'])).toBeNull()
    expect(v.isRevoked(['app_1'])).toBe('app_1')
    expect(REVOCATION_RETENTION).toBeGreaterThanOrEqual(900 + 60)
  })

  it('at capacity the replica refuses service and evicts nothing [P-058]', () => {
    const { view: v, turn } = view({ capacity: 3 })
    for (const id of ['a', 'b', 'c']) v.apply(revocation(id))
    expect(v.unfit()).toBeNull()
    v.apply(revocation('b'))
    expect(v.unfit()).toBeNull()
    const cuts: Cut[] = []
    v.watch(['d'], (why) => cuts.push(why))
    v.apply(revocation('d'))
    expect(v.unfit()).toBe('full')
    expect(cuts).toEqual([{ reason: 'token_revoked', id: 'd' }])
    for (const id of ['a', 'b', 'c']) expect(v.isRevoked([id])).toBe(id)
    turn(REVOCATION_RETENTION + 1)
    v.tick()
    v.proven()
    expect(v.unfit()).toBe('full')
    v.startLoading().finish({ position: '', entries: [revocation('d')] })
    expect(v.unfit()).toBeNull()
  })

  it('a snapshot that does not fit leaves the view unfit [P-058]', () => {
    expect(view({ capacity: 2, entries: ['a', 'b', 'c'].map((id) => revocation(id)) }).view.unfit()).toBe('full')
  })
})

describe('joining snapshot, broadcast and polls [P-057]', () => {
  it('loses nothing that comes while a snapshot is loaded', () => {
    const { view: v } = view({ entries: [revocation('old')] })
    const loading = v.startLoading()
    v.apply(revocation('new'))
    v.apply(revocation('lifted', 'lift'))
    expect(v.isRevoked(['new'])).toBe('new')
    loading.finish({ position: '5', entries: [revocation('lifted'), revocation('kept')] })
    expect(['old', 'new', 'lifted', 'kept'].map((id) => v.isRevoked([id]))).toEqual([null, 'new', null, 'kept'])
  })

  it('a load that was overtaken by another changes nothing', () => {
    const { view: v } = view()
    const slow = v.startLoading()
    const fast = v.startLoading()
    fast.finish({ position: '2', entries: [revocation('a')] })
    slow.finish({ position: '1', entries: [] })
    expect(v.isRevoked(['a'])).toBe('a')
  })

  it('a poll that overlaps with the broadcast never undoes what came later', () => {
    const { view: v } = view()
    v.apply(revocation('a', 'revoke', 'session', 10))
    v.apply(revocation('a', 'lift', 'session', 20))
    v.merge([revocation('a', 'revoke', 'session', 10)])
    expect(v.isRevoked(['a'])).toBeNull()
    v.merge([revocation('a', 'lift', 'session', 40), revocation('a', 'revoke', 'session', 30)])
    expect(v.isRevoked(['a'])).toBeNull()
    v.merge([revocation('a', 'revoke', 'session', 50)])
    expect(v.isRevoked(['a'])).toBe('a')
  })

  it('an old lift that somebody sends once more undoes nothing', () => {
    const { view: v } = view()
    v.apply(revocation('a', 'lift', 'session', 20))
    v.apply(revocation('a', 'revoke', 'session', 30))
    v.apply(revocation('a', 'lift', 'session', 20))
    expect(v.isRevoked(['a'])).toBe('a')
    v.apply(revocation('a', 'lift', 'session', 40))
    expect(v.isRevoked(['a'])).toBeNull()
  })

  it('polls in any order and number end in the same view', () => {
    const history = fc.array(fc.record({ id: fc.constantFrom('a', 'b'), op: fc.constantFrom('revoke' as const, 'lift' as const) }))
    fc.assert(
      fc.property(history, fc.array(fc.tuple(fc.nat(20), fc.nat(20))), (ops, windows) => {
        const all = ops.map(({ id, op }, at) => revocation(id, op, 'session', at + 1))
        const { view: v } = view()
        for (const [from, count] of windows) v.merge(all.slice(from, from + count).toReversed())
        v.merge(all)
        for (const id of ['a', 'b']) {
          expect(v.isRevoked([id]) !== null).toBe(all.findLast((entry) => entry.id === id)?.op === 'revoke')
        }
      }),
    )
  })
})

describe('freshness on the monotonic clock [P-056]', () => {
  it('nothing is served before the first load', () => {
    const v = new RevocationView({ monotonic: () => 0 })
    v.proven()
    expect(v.unfit()).toBe('not_loaded')
  })

  it('goes after five seconds without proof, and returns with the next', () => {
    const { view: v, turn } = view()
    turn(5)
    expect(v.unfit()).toBeNull()
    turn(0.001)
    expect(v.unfit()).toBe('stale')
    v.proven()
    expect(v.unfit()).toBeNull()
  })

  it('does not depend on the wall clock', () => {
    const { view: v } = view()
    v.apply(revocation('a', 'revoke', 'session', 9e15))
    v.apply(revocation('b', 'revoke', 'session', -9e15))
    expect(v.unfit()).toBeNull()
    expect(v.isRevoked(['a'])).toBe('a')
    expect(v.isRevoked(['b'])).toBe('b')
  })

  it('a poll proves only the moment it was asked', () => {
    const { view: v, turn } = view()
    const asked = 0
    turn(4)
    v.proven(asked)
    turn(1.5)
    expect(v.unfit()).toBe('stale')
  })

  it('after a gap no sign of life counts until it is loaded anew', () => {
    const { view: v, turn } = view()
    v.doubt()
    turn(4)
    v.proven()
    expect(v.unfit()).toBeNull()
    turn(2)
    expect(v.unfit()).toBe('stale')
    v.startLoading().finish({ position: '', entries: [] })
    expect(v.unfit()).toBeNull()
  })
})

describe('running streams [P-059]', () => {
  it('are cut once, when one of their ids is revoked, and only they [P-053]', () => {
    const { view: v } = view()
    const cuts: string[] = []
    v.watch(['ses_1', 'app_1'], () => cuts.push('one'))
    v.watch(['ses_2', 'app_1'], () => cuts.push('two'))
    v.watch(['ses_1'], () => cuts.push('three'))()
    v.apply(revocation('ses_1'))
    v.apply(revocation('ses_1'))
    expect(cuts).toEqual(['one'])
    v.apply(revocation('app_1', 'revoke', 'application'))
    expect(cuts).toEqual(['one', 'two'])
    expect(v.watched()).toBe(0)
  })

  it('are cut at once when the id fell between decision and watch, or came with a snapshot', () => {
    const { view: v } = view()
    const cuts: Cut[] = []
    v.apply(revocation('ses_1'))
    v.watch(['ses_1'], (why) => cuts.push(why))
    v.watch(['ses_2'], (why) => cuts.push(why))
    v.startLoading().finish({ position: '', entries: [revocation('ses_2')] })
    expect(cuts).toEqual([
      { reason: 'token_revoked', id: 'ses_1' },
      { reason: 'token_revoked', id: 'ses_2' },
    ])
  })

  it('are cut when the view goes stale [P-056]', () => {
    const { view: v, turn } = view()
    const cuts: Cut[] = []
    v.watch(['ses_1'], (why) => cuts.push(why))
    v.tick()
    turn(6)
    v.tick()
    v.tick()
    expect(cuts).toEqual([{ reason: 'revocation_view_stale' }])
  })

  it('cost a revocation nothing when they do not name its id [P-177]', () => {
    const { view: v } = view()
    let cuts = 0
    for (let i = 0; i < 100_000; i++) v.watch([`ses_${i}`, 'app_1'], () => cuts++)
    const started = performance.now()
    for (let i = 0; i < 1000; i++) v.apply(revocation(`other_${i}`))
    expect(performance.now() - started).toBeLessThan(1_500)
    expect(cuts).toBe(0)
  })
})
