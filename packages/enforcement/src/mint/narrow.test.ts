import { type DelegationId, newId, type ResourceId, type Scope } from '@caracal/core'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Ceiling, delegationCeilings, narrow } from './narrow.ts'

const names = ['a:read', 'a:write', 'a:admin', 'b:read', 'b:write', 'c']
const scope = fc.constantFrom(...names)
const scopes = fc.uniqueArray(scope)
const resource: ResourceId = newId('resource', 1)
const other: ResourceId = newId('resource', 2)

/** A chain of delegations, each with grants on two resources, possibly repeated. */
const chain = fc.array(
  fc.record({
    id: fc.nat(99).map((n): DelegationId => newId('delegation', n, new Uint8Array(10))),
    grants: fc.array(fc.record({ resource: fc.constantFrom(resource, other), scopes }), { maxLength: 4 }),
  }),
  { maxLength: 5 },
)
const parent = fc.option(scopes)

function ceilingsOf(parentScopes: readonly Scope[] | null, delegations: Parameters<typeof delegationCeilings>[0]): Ceiling[] {
  const fromParent = parentScopes === null ? [] : [{ name: 'the parent mandate', scopes: new Set(parentScopes) }]
  return [...fromParent, ...delegationCeilings(delegations, resource)]
}

describe('narrowing', () => {
  it('never gives what the resource, the parent mandate or any delegation lacks [P-002]', () => {
    fc.assert(
      fc.property(fc.option(fc.array(scope)), scopes, parent, chain, (requested, declared, parentScopes, delegations) => {
        const result = narrow(requested === null ? null : new Set(requested), declared, ceilingsOf(parentScopes, delegations))
        if (!result.ok) return
        for (const granted of result.value.scopes) {
          expect(declared).toContain(granted)
          if (requested !== null && requested.length > 0) expect(requested).toContain(granted)
          if (parentScopes !== null) expect(parentScopes).toContain(granted)
          for (const { grants } of delegations) {
            expect(grants.some((grant) => grant.resource === resource && grant.scopes.includes(granted))).toBe(true)
          }
        }
      }),
      { numRuns: 1000 },
    )
  })

  it('gives exactly what was requested, or refuses and names a scope that is too wide [P-002]', () => {
    fc.assert(
      fc.property(fc.array(scope, { minLength: 1 }), scopes, parent, chain, (requested, declared, parentScopes, delegations) => {
        const ceilings = ceilingsOf(parentScopes, delegations)
        const result = narrow(new Set(requested), declared, ceilings)
        if (result.ok) {
          expect([...result.value.scopes].sort()).toEqual([...new Set(requested)].sort())
          return
        }
        const named = String(result.data?.scope)
        expect(requested).toContain(named)
        if (result.reason === 'invalid_scope') expect(declared).not.toContain(named)
        else expect(ceilings.some((ceiling) => !ceiling.scopes.has(named))).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })

  it('does not depend on the order or repetition of scopes, grants and ceilings [P-002]', () => {
    fc.assert(
      fc.property(
        fc.array(scope),
        scopes,
        parent,
        chain,
        fc.infiniteStream(fc.nat()),
        (requested, declared, parentScopes, delegations, random) => {
          const shuffle = <T>(list: readonly T[]): T[] =>
            [...list, ...list.slice(0, 2)]
              .map((value) => ({ value, key: random.next().value ?? 0 }))
              .sort((a, b) => a.key - b.key)
              .map(({ value }) => value)
          const once = narrow(new Set(requested), declared, ceilingsOf(parentScopes, delegations))
          const again = narrow(new Set(shuffle(requested)), shuffle(declared), shuffle(ceilingsOf(parentScopes, delegations)))
          expect(again.ok).toBe(once.ok)
          if (once.ok && again.ok) expect([...again.value.scopes].sort()).toEqual([...once.value.scopes].sort())
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('a further ceiling never widens [P-002]', () => {
    fc.assert(
      fc.property(fc.option(fc.array(scope)), scopes, parent, chain, scopes, (requested, declared, parentScopes, delegations, more) => {
        const asked = requested === null ? null : new Set(requested)
        const ceilings = ceilingsOf(parentScopes, delegations)
        const before = narrow(asked, declared, ceilings)
        const after = narrow(asked, declared, [...ceilings, { name: 'more', scopes: new Set(more) }])
        if (!before.ok) expect(after.ok).toBe(false)
        else if (after.ok) expect(after.value.scopes.isSubsetOf(before.value.scopes)).toBe(true)
      }),
    )
  })

  it('nothing requested is all that is left, not nothing and not everything', () => {
    const ceilings = [{ name: 'x', scopes: new Set(['a:read', 'c', 'foreign']) }]
    for (const nothing of [null, new Set<Scope>()]) {
      const result = narrow(nothing, names, ceilings)
      expect(result.ok && [...result.value.scopes].sort()).toEqual(['a:read', 'c'])
      expect(result.ok && result.value.explicit).toBe(false)
    }
  })

  it('a delegation that does not list the resource leaves nothing', () => {
    const ceilings = delegationCeilings([{ id: newId('delegation'), grants: [{ resource: other, scopes: ['a:read'] }] }], resource)
    expect(narrow(new Set(['a:read']), names, ceilings)).toMatchObject({ ok: false, reason: 'scope_exceeds_parent' })
    const all = narrow(null, names, ceilings)
    expect(all.ok && all.value.scopes.size).toBe(0)
  })
})
