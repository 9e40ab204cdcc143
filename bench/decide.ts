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

/** Microseconds of one kind of decision. */
export type DecisionTimes = { readonly title: string; readonly p50: number; readonly p99: number }

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

function measure(title: string, rounds: number, run: (round: number) => void): DecisionTimes {
  for (let round = 0; round < 20_000; round += 1) run(round)
  const times = new Float64Array(rounds)
  for (let round = 0; round < rounds; round += 1) {
    const start = performance.now()
    run(round)
    times[round] = (performance.now() - start) * 1000
  }
  times.sort()
  const at = (share: number) => times[Math.floor(rounds * share)] ?? 0
  return { title, p50: at(0.5), p99: at(0.99) }
}

const zone = { id: newId('zone'), name: 'zone', labels: ['production', 'eu'] }
const mandate = { ttl: 300, once: false, senderConstrained: false }
const calls = Array.from({ length: POLICIES }, (_, at): CallInput => {
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

/**
 * How long one decision takes at 1,000 policies of 5 rules each. Every fourth policy names its resource by a prefix as well; no two
 * conditions are the same text. Times include the timer (about 50 ns). As a program: `node bench/decide.ts`.
 */
export function measureDecisions(rounds = 200_000): readonly DecisionTimes[] {
  const compiled = compilePolicies(Array.from({ length: POLICIES }, (_, at) => policy(at)))
  if (!compiled.ok) throw new Error(compiled.detail)
  // As many resources as policies, so that no decision finds its rules warm.
  const rotate = (inputs: readonly DecisionInput[]) => (round: number) => {
    const input = inputs[round % inputs.length]
    if (input !== undefined) decide(compiled.value, input)
  }
  return [
    measure('mint, one condition', rounds, rotate(calls.map((input): MintInput => ({ ...input, phase: 'mint', scope: 'items:read' })))),
    measure('call, two conditions', rounds, rotate(calls.map((input) => ({ ...input, scope: 'items:write' })))),
    measure('call, four conditions, body read', rounds, rotate(calls)),
    measure('the same, one resource', rounds, rotate(calls.slice(0, 1))),
  ]
}

if (import.meta.main) {
  for (const { title, p50, p99 } of measureDecisions()) {
    process.stdout.write(`${title.padEnd(34)} p50 ${p50.toFixed(2)} µs   p99 ${p99.toFixed(2)} µs\n`)
  }
}
