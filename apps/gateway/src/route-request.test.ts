import { describe, expect, it } from 'vitest'
import { parseRequestTarget } from './request-target.ts'
import { pickResource, routeRequest } from './route-request.ts'
import { resourceFor } from './test-support/data-path.ts'

function route(target: string, ...rawHeaders: string[]) {
  const parsed = parseRequestTarget(target)
  if (!parsed.ok) throw new Error(`not a target: ${target}`)
  return routeRequest({ target: parsed.value, rawHeaders, baseDomain: 'gw.example' })
}

const HEADER = 'X-Caracal-Resource'

describe('routeRequest', () => {
  it.each([
    ['/r/notes/a/b?c=1', ['Host', 'gw'], [{ by: 'name', text: 'notes' }], '/a/b', '/r/notes'],
    ['/r/notes', ['Host', 'gw'], [{ by: 'name', text: 'notes' }], '/', '/r/notes'],
    ['/r/notes/', ['Host', 'gw'], [{ by: 'name', text: 'notes' }], '/', '/r/notes'],
    ['/r/notes//a/', ['Host', 'gw'], [{ by: 'name', text: 'notes' }], '//a/', '/r/notes'],
    ['/r/notes/health', ['Host', 'gw'], [{ by: 'name', text: 'notes' }], '/health', '/r/notes'],
    ['/metrics', ['Host', 'notes.gw.example'], [{ by: 'name', text: 'notes' }], '/metrics', ''],
    ['/health', ['Host', 'Notes.GW.example.:8081'], [{ by: 'name', text: 'notes' }], '/health', ''],
    ['/ready', [HEADER, 'https://n/'], [{ by: 'identifier', text: 'https://n/' }], '/ready', ''],
    ['/a', [HEADER, 'u:1', HEADER, 'u:1'], [{ by: 'identifier', text: 'u:1' }], '/a', ''],
    ['/r/notes/a', ['Host', 'notes.gw.example'], [{ by: 'name', text: 'notes' }], '/a', '/r/notes'],
    [
      '/r/notes/a',
      [HEADER, 'u:1'],
      [
        { by: 'identifier', text: 'u:1' },
        { by: 'name', text: 'notes' },
      ],
      '/a',
      '/r/notes',
    ],
    ['/r/NOT-A-NAME/a', [HEADER, 'u:1'], [{ by: 'identifier', text: 'u:1' }], '/r/NOT-A-NAME/a', ''],
  ])('%s with %j names %j [P-065]', (target, headers, references, below, base) => {
    const routed = route(target, ...headers)
    if (!routed.ok || routed.value === null) throw new Error('not routed')
    expect(routed.value.references).toEqual(references)
    expect(routed.value.below.raw).toBe(below)
    expect(routed.value.below.segments.join('/')).toBe(below.slice(1))
    expect(routed.value.base).toBe(base)
  })

  it.each([
    ['/health', ['Host', 'gw.example']],
    ['/metrics', ['Host', '10.0.0.1:8081']],
    ['/', ['Host', 'a.b.gw.example']],
    ['/r/', ['Host', 'gw']],
    ['/r', ['Host', 'gw']],
    ['/R/notes/', ['Host', 'gw']],
    ['/%72/notes/', ['Host', 'gw']],
    ['/r/%6eotes/', ['Host', 'gw']],
    ['//r/notes/', ['Host', 'gw']],
  ])('%s with %j names none: the own routes answer [P-065]', (target, headers) => {
    expect(route(target, ...headers)).toEqual({ ok: true, value: null })
  })

  it.each([
    ['/a', [HEADER, 'u:1', HEADER, 'u:2']],
    ['/a', [HEADER, '']],
    ['/r/notes/a', ['Host', 'other.gw.example']],
    ['/a', ['Host', 'notes.gw.example', 'host', 'other.gw.example']],
  ])('%s with %j contradicts itself', (target, headers) => {
    expect(route(target, ...headers)).toMatchObject({ ok: false, reason: 'invalid_request' })
  })

  it('an identifier and a name must mean the same resource', () => {
    const notes = resourceFor('http://n/', { identifier: 'u:1', name: 'notes' })
    const other = resourceFor('http://o/', { identifier: 'u:2', name: 'other' })
    const directory = {
      byIdentifier: (text: string) => [notes, other].find((resource) => resource.identifier === text),
      byName: (text: string) => [notes, other].find((resource) => resource.name === text),
    }
    const pick = (target: string, ...headers: string[]) => {
      const routed = route(target, ...headers)
      if (!routed.ok || routed.value === null) throw new Error('not routed')
      return pickResource(routed.value, directory)
    }
    expect(pick('/r/notes/a', HEADER, 'u:1')).toEqual({ ok: true, value: notes })
    expect(pick('/r/other/a', HEADER, 'u:1')).toMatchObject({ reason: 'invalid_request' })
    expect(pick('/a', HEADER, 'u:3')).toMatchObject({ reason: 'resource_unknown' })
    expect(pick('/r/none/a')).toMatchObject({ reason: 'resource_unknown' })
  })
})
