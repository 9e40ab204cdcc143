import { describe, expect, test } from 'vitest'
import { CALL_GRAPH, calls, DOORS, OTHERS, SWITCHES } from './call-graph.ts'
import { render } from './helm.ts'
import { allowedCalls } from './network-matrix.ts'
import { DEV, PRODUCTION } from './profiles.ts'
import { listAt, merged, textAt } from './tree.ts'

/** Stores by their own address, so that a cell is one peer. */
const BASE = { networkPolicy: { postgres: { to: ['10.0.5.5/32'] }, redis: { to: ['10.0.5.6/32'] } } }

async function callsWith(values: Readonly<Record<string, unknown>>): Promise<readonly string[]> {
  return allowedCalls(await render({ ...PRODUCTION, values: merged(BASE, values) }), OTHERS, DOORS)
}

async function change(values: Readonly<Record<string, unknown>>) {
  const after = await callsWith(values)
  return {
    opened: after.filter((call) => !CALL_GRAPH.includes(call)),
    closed: CALL_GRAPH.filter((call) => !after.includes(call)),
  }
}

describe('what the rendered policies let through', () => {
  test('[0-07] [1-10] is the call graph, cell by cell: services, stores, names and the scrape, and nothing else', async () => {
    expect(await callsWith({})).toEqual(CALL_GRAPH)
  })

  test('[0-07] every pod of the release is denied by default in both directions', async () => {
    const objects = await render(PRODUCTION)
    const deny = objects.one('NetworkPolicy', 'caracal-default-deny')
    expect(deny.spec).toEqual({
      podSelector: { matchLabels: { 'app.kubernetes.io/name': 'caracal', 'app.kubernetes.io/instance': 'caracal' } },
      policyTypes: ['Ingress', 'Egress'],
    })
    for (const policy of objects.ofKind('NetworkPolicy'))
      expect([textAt(policy, 'metadata.name'), listAt(policy, 'spec.policyTypes')]).toEqual([
        textAt(policy, 'metadata.name'),
        ['Ingress', 'Egress'],
      ])
  })

  test('[1-12] audit has no peer from outside, and Coordinator only the clients', async () => {
    const opened = (await change({ networkPolicy: { clients: [{ podSelector: { matchLabels: { app: 'neighbour' } } }] } })).opened
    expect(opened).toEqual(
      [
        ...calls(['neighbour'], 'api', 3000),
        ...calls(['neighbour'], 'coordinator', 4000),
        ...calls(['neighbour'], 'gateway', 8081),
        ...calls(['neighbour'], 'sts', 8080),
      ].toSorted(),
    )
  })

  test('[1-10] stores are reached in private ranges by default, and nowhere else', async () => {
    const objects = await render(PRODUCTION)
    const allowed = allowedCalls(objects, OTHERS, DOORS)
    expect(allowed).toContain('api > private:5432')
    expect(allowed.filter((call) => /> (internet|metadata):/.test(call))).toEqual([])
  })
})

describe('the Postgres of the dev overlay behind policies', () => {
  const callers = ['api', 'audit', 'coordinator', 'gateway', 'sts']
  const toPostgres = async (values: Readonly<Record<string, unknown>>) =>
    allowedCalls(
      await render({ ...DEV, values: merged({ networkPolicy: { enabled: true } }, values) }),
      OTHERS.filter((party) => party.name !== 'postgres'),
      DOORS,
    ).filter((call) => call.includes('postgres'))

  test.each([
    ['its services, all of which carry streams through it', {}, callers],
    ['the Jobs of migrations, where they are Jobs', { migrations: { mode: 'job' } }, [...callers, 'migrate', 'schema-check']],
    ['nobody that is off', { services: { coordinator: { enabled: false } } }, callers.filter((caller) => caller !== 'coordinator')],
  ])('[0-07] is reached by %s, and calls nobody', async (_, values, expected) => {
    expect(await toPostgres(values)).toEqual(calls(expected, 'postgres', 5432).toSorted())
  })
})

describe('each switch changes its own cells and no other', () => {
  test.each(SWITCHES)('[0-07] [1-10] $title', async ({ values, opened = [], closed = [] }) => {
    expect(await change(values)).toEqual({ opened: opened.toSorted(), closed: closed.toSorted() })
  })
})
