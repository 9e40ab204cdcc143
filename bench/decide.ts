/**
 * How long one decision takes at 1,000 policies of 5 rules each: `node bench/decide.ts`. Every fourth policy
 * names its resource by a prefix as well; no two conditions are the same text. Times include the timer (about 50 ns).
 */
import { performance } from 'node:perf_hooks'
import {
  type CallInput,
  compilePolicies,
  type DecisionInput,
  decide,
  type MintInput,
  newId,
  type PolicyDocument,
  type PolicyRule,
} from '@caracal/core'

const POLICIES = 1000
const ROUNDS = 200_000

function policy(at: number): PolicyDocument {
  const on = [`https://service-${at}.example/api`]
  const shared = { on, for: { labels: [`team-${at % 50}`] } } as const
  const rules: PolicyRule[] = [
    { id: 'read', effect: 'allow', scopes: ['items:read'], ...shared },
    { id: 'write', effect: 'allow', scopes: ['items:write'], ...shared, when: `session.depth <= ${2 + at}` },
    {
      id: 'small',
      effect: 'allow',
      scopes: ['payments:create'],
      ...shared,
      when: `delegation.depth <= 2 && operation.body.amount <= ${500 + at}.0`,
    },
    {
      id: 'large',
      effect: 'hold',
      scopes: ['payments:create'],
      ...shared,
      when: `operation.body.amount > ${500 + at}.0`,
      approval: { tier: 'payments', approvers: ['role:approver'], ttl: 900, distinctFromRequester: true },
    },
    {
      id: 'frozen',
      effect: 'deny',
      scopes: ['*'],
      on: at % 4 === 0 ? [`https://service-${at}*`] : on,
      for: { any: true },
      when: `zone.labels.exists(l, l == "frozen-${at}")`,
    },
  ]
  return { kind: 'Policy', name: `policy-${at}`, rules }
}

function measure(title: string, count: number, run: (round: number) => void): void {
  for (let round = 0; round < 20_000; round += 1) run(round)
  const times = new Float64Array(count)
  for (let round = 0; round < count; round += 1) {
    const start = performance.now()
    run(round)
    times[round] = (performance.now() - start) * 1000
  }
  times.sort()
  const at = (share: number) => (times[Math.floor(count * share)] ?? 0).toFixed(2)
  process.stdout.write(`${title.padEnd(34)} p50 ${at(0.5)} µs   p99 ${at(0.99)} µs\n`)
}

const start = performance.now()
const compiled = compilePolicies(Array.from({ length: POLICIES }, (_, at) => policy(at)))
if (!compiled.ok) throw new Error(compiled.detail)
const policies = compiled.value
process.stdout.write(`${policies.rules} rules in ${POLICIES} policies compiled in ${(performance.now() - start).toFixed(0)} ms\n`)

const zone = { id: newId('zone'), name: 'zone', labels: ['production', 'eu'] }
const mandate = { ttl: 300, once: false, senderConstrained: false }
const inputs = Array.from({ length: POLICIES }, (_, at): CallInput => {
  const resource = { id: newId('resource'), name: `service-${at}`, identifier: `https://service-${at}.example/api`, kind: 'http' as const }
  const application = { id: newId('application'), name: 'agent', labels: [`team-${at % 50}`] }
  const body = { amount: 400, to: 'account', lines: [{ text: 'a', amount: 400 }] }
  const operation = {
    method: 'POST',
    path: '/payments',
    template: '/payments',
    params: {},
    query: {},
    headers: {},
    body,
    tool: '',
    arguments: {},
  }
  return {
    phase: 'call',
    zone,
    application,
    resource,
    scope: 'payments:create',
    mandate,
    operation,
    request: { time: 0, peer: '192.0.2.1' },
  }
})

/** One of these inputs after the other: as many resources as policies, so that no decision finds its rules warm. */
function rotate(list: readonly DecisionInput[]): (round: number) => void {
  return (round) => {
    const input = list[round % list.length]
    if (input !== undefined) decide(policies, input)
  }
}

measure('mint, one condition', ROUNDS, rotate(inputs.map((input): MintInput => ({ ...input, phase: 'mint', scope: 'items:read' }))))
measure('call, two conditions', ROUNDS, rotate(inputs.map((input) => ({ ...input, scope: 'items:write' }))))
measure('call, four conditions, body read', ROUNDS, rotate(inputs))
measure('the same, one resource', ROUNDS, rotate(inputs.slice(0, 1)))
