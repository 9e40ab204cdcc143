import { type ApplicationId, type DelegationId, newId, type ResourceId, type Scope, type SessionId } from '@caracal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { narrowOffer, type Offer, type OfferGround } from './narrow-offer.ts'

const NOW = 1_800_000_000_000
const names: readonly Scope[] = ['a', 'b', 'c', 'd']
const resources = [0, 1, 2].map(() => ({ id: newId('resource'), scopes: names }))
const applications = Array.from({ length: 6 }, () => newId('application'))

type Link = OfferGround['chain'][number] & { readonly expiresAt: number }

const offers = fc.record({
  to: fc.nat(5),
  grants: fc.uniqueArray(fc.tuple(fc.nat(2), fc.oneof(fc.constant([...names]), fc.subarray([...names]))), {
    maxLength: 3,
    selector: ([resource]) => resource,
  }),
  /** Asks for what the parent has, one hop less: such chains grow long. */
  modest: fc.boolean(),
  hops: fc.option(fc.nat(9), { nil: undefined }),
  ends: fc.option(fc.integer({ min: -1, max: 20 }), { nil: undefined, freq: 2 }),
})

function toOffer({
  to,
  grants,
  hops,
  ends,
}: {
  to: number
  grants: [number, readonly Scope[]][]
  hops?: number | undefined
  ends?: number | undefined
}): Offer {
  return {
    toApplication: applications[to] as ApplicationId,
    grants: grants.flatMap(([at, scopes]) => (resources[at] === undefined ? [] : { resource: resources[at], scopes })),
    hops,
    expiresAt: ends === undefined ? undefined : NOW + ends * 1000,
  }
}

describe('[P-035] narrowing of offers', () => {
  it('over random chains: whatever is accepted is within every delegation above it, without self-delegation and cycles', () => {
    let longest = 0
    fc.assert(
      fc.property(fc.array(offers, { minLength: 1, maxLength: 20, size: 'large' }), (steps) => {
        const chain: Link[] = []
        let sender = applications[0] as ApplicationId
        for (const step of steps) {
          const above = chain.at(-1)
          const asked = toOffer(step)
          const less = above && { hops: above.hops - 1, expiresAt: undefined }
          const held = above?.grants.flatMap(({ resource, scopes }) => {
            const found = resources.find((one) => one.id === resource)
            return found === undefined ? [] : { resource: found, scopes }
          })
          const offer: Offer = step.modest && less !== undefined && held !== undefined ? { ...asked, ...less, grants: held } : asked
          const id: DelegationId = newId('delegation')
          const from = { application: sender, lineage: [newId('session')] }
          const end = Math.min(NOW + 10_000, ...chain.map((link) => link.expiresAt))
          const narrowed = narrowOffer(id, offer, { from, chain, end }, NOW)
          const parent = chain.at(-1)
          if (!narrowed.ok) continue
          const { grants, hops, expiresAt, lineage } = narrowed.value
          for (const above of chain) {
            expect(above.fromApplication).not.toBe(offer.toApplication)
            expect(expiresAt).toBeLessThanOrEqual(above.expiresAt)
            for (const grant of grants) {
              const wider = above.grants.find((one) => one.resource === grant.resource)
              expect(new Set(grant.scopes).isSubsetOf(new Set(wider?.scopes))).toBe(true)
            }
          }
          expect(grants.length).toBeGreaterThan(0)
          expect(grants.every((grant) => grant.scopes.length > 0)).toBe(true)
          expect(offer.toApplication).not.toBe(sender)
          expect(expiresAt).toBeGreaterThan(NOW)
          if (parent !== undefined) expect(hops).toBeLessThan(parent.hops)
          expect(lineage).toEqual([...(parent?.lineage ?? []), id])
          chain.push({ id, grants, hops, fromApplication: sender, fromLineage: from.lineage, lineage, expiresAt })
          sender = offer.toApplication
          longest = Math.max(longest, chain.length)
        }
      }),
      { numRuns: 2000 },
    )
    expect(longest).toBeGreaterThan(3)
  })

  const [bank, shop] = resources as [(typeof resources)[0], (typeof resources)[0]]
  const lineage = (length: number): SessionId[] => Array.from({ length }, () => newId('session'))
  const parent: Link = {
    id: newId('delegation'),
    grants: [{ resource: bank.id as ResourceId, scopes: ['a', 'b'] }],
    hops: 1,
    fromApplication: applications[0] as ApplicationId,
    fromLineage: lineage(1),
    lineage: [newId('delegation')],
    expiresAt: NOW + 5_000,
  }
  const ground: OfferGround = {
    from: { application: applications[1] as ApplicationId, lineage: lineage(1) },
    chain: [parent],
    end: NOW + 5_000,
  }
  const good: Offer = {
    toApplication: applications[2] as ApplicationId,
    grants: [{ resource: bank, scopes: ['b', 'a', 'b'] }],
    hops: undefined,
    expiresAt: undefined,
  }

  it.each([
    ['a scope that the parent lacks', { grants: [{ resource: bank, scopes: ['c'] }] }, ground, 'scope_exceeds_parent'],
    ['a resource that the parent does not list', { grants: [{ resource: shop, scopes: ['a'] }] }, ground, 'scope_exceeds_parent'],
    ['a scope that the resource does not declare', { grants: [{ resource: bank, scopes: ['z'] }] }, ground, 'invalid_scope'],
    ['no resources', { grants: [] }, ground, 'validation_failed'],
    ['no scopes', { grants: [{ resource: bank, scopes: [] }] }, ground, 'validation_failed'],
    ['a resource twice', { grants: [...good.grants, ...good.grants] }, ground, 'validation_failed'],
    ['as many hops as the parent', { hops: 1 }, ground, 'validation_failed'],
    ['a hop below the last', {}, { ...ground, chain: [{ ...parent, hops: 0 }] }, 'validation_failed'],
    ['a later end', { expiresAt: NOW + 5_001 }, ground, 'validation_failed'],
    ['an end that is over', { expiresAt: NOW }, ground, 'validation_failed'],
    ['itself', { toApplication: applications[1] as ApplicationId }, ground, 'validation_failed'],
    ['a cycle', { toApplication: applications[0] as ApplicationId }, ground, 'validation_failed'],
    ['no room for the recipient', {}, { ...ground, from: { ...ground.from, lineage: lineage(9) } }, 'lineage_too_deep'],
  ] as const)('%s is refused', (_name, over, on, reason) => {
    expect(narrowOffer(newId('delegation'), { ...good, ...over }, on, NOW)).toMatchObject({ ok: false, reason })
  })

  it('nothing asked is no hop and as long as possible; scopes stand once, in order', () => {
    expect(narrowOffer(newId('delegation'), good, ground, NOW)).toMatchObject({
      ok: true,
      value: { hops: 0, expiresAt: NOW + 5_000, grants: [{ resource: bank.id, scopes: ['a', 'b'] }] },
    })
  })
})
