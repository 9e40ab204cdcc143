import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { allowAll, callWorld, policy, rule, said } from '../test-support/call-world.ts'
import { streamsForTest, type TestStreams } from '../test-support/streams-for-test.ts'
import { couldCall, mcpPath } from './could-call.ts'
import { decideCall } from './decide-call.ts'
import { decidePassage } from './decide-passage.ts'
import type { GovernedCall } from './governed-call.ts'

let store: TestStreams
beforeAll(async () => {
  store = await streamsForTest('postgres')
})
afterAll(() => store.close())

const operations = [
  { method: 'tools/call', path: 'pay', scope: 'bank:pay' },
  { method: 'tools/call', path: 'read*', scope: 'bank:read' },
  { method: 'prompts/get', path: 'pay', scope: 'bank:read' },
]
const mcp = (...rules: ReturnType<typeof rule>[]) => callWorld(store, rules, { kind: 'mcp', operations, scopes: ['bank:read', 'bank:pay'] })
type World = ReturnType<typeof mcp>

function asked(
  w: World,
  method: string,
  tool: string,
  args: Record<string, unknown> | undefined,
  scope: string,
  claims = {},
): GovernedCall {
  const { path: _path, ...rest } = w.call({ token: w.token({ scope, ...claims }), method })
  return { ...rest, path: mcpPath(tool), mcp: { tool, arguments: args } }
}

async function could(w: World, method: string, name: string, scope = 'bank:read bank:pay'): Promise<string> {
  const passage = await decidePassage(asked(w, 'tools/list', '', undefined, scope), w.dependencies)
  if (!passage.passed) throw new Error(passage.refusal.reason)
  return couldCall(passage.so, method, name, w.dependencies).could
}

const decided = async (w: World, tool: string, args: Record<string, unknown>, scope = 'bank:read bank:pay', method = 'tools/call') =>
  said(await decideCall(asked(w, method, tool, args, scope), w.dependencies))

describe('[P-088] tools are decided one by one, with conditions over name and arguments', () => {
  it.each([
    ['pay', { amount: 5 }, 'allow'],
    ['pay', { amount: 5000 }, 'no_rule_allows'],
    ['pay', { amount: '5' }, 'condition_failed'],
    ['pay', {}, 'condition_failed'],
    ['read_all', {}, 'allow'],
    ['read_secret', {}, 'denied_by_rule'],
    ['other', {}, 'operation_not_declared'],
  ])('%s %j is %s', async (tool, args, expected) => {
    const w = mcp(
      rule({ id: 'read', effect: 'allow', scopes: ['bank:read'] }),
      rule({ id: 'small', effect: 'allow', scopes: ['bank:pay'], when: 'operation.arguments.amount < 100.0' }),
      rule({ id: 'secret', effect: 'deny', when: 'operation.tool == "read_secret"' }),
    )
    expect(await decided(w, tool, args)).toBe(expected)
  })

  it('the mandate has to hold the scope of this very tool', async () => {
    expect(await decided(mcp(allowAll), 'pay', {}, 'bank:read')).toBe('insufficient_scope')
  })

  it('an HTTP call to an MCP server, and an MCP message to an HTTP resource, are not declared', async () => {
    const w = mcp(allowAll)
    expect(said(await decideCall(w.call({ token: w.token({ scope: 'bank:read' }) }), w.dependencies))).toBe('operation_not_declared')
    const http = callWorld(store)
    expect(said(await decideCall({ ...http.call(), mcp: { tool: 'x', arguments: {} } }, http.dependencies))).toBe('operation_not_declared')
  })
})

describe('[P-088] lists show what a caller could call', () => {
  it('a condition over arguments may hold, one over the name does or does not', async () => {
    const w = mcp(
      rule({ id: 'small', effect: 'allow', scopes: ['bank:pay'], when: 'operation.arguments.amount < 100.0' }),
      rule({ id: 'one', effect: 'allow', scopes: ['bank:read'], when: 'operation.tool == "read_one"' }),
    )
    expect(await could(w, 'tools/call', 'pay')).toBe('yes')
    expect(await could(w, 'tools/call', 'read_one')).toBe('yes')
    expect(await could(w, 'tools/call', 'read_two')).toBe('no')
    expect(await could(w, 'tools/call', 'nothing')).toBe('no')
  })

  it('a denial of the name hides it, one that depends on the arguments does not', async () => {
    const denying = (when: string) => mcp(allowAll, rule({ id: 'deny', effect: 'deny', when }))
    expect(await could(denying('operation.tool == "pay"'), 'tools/call', 'pay')).toBe('no')
    expect(await could(denying('operation.arguments.amount > 100.0'), 'tools/call', 'pay')).toBe('yes')
    expect(await could(mcp(allowAll, rule({ id: 'deny', effect: 'deny' })), 'tools/call', 'pay')).toBe('no')
  })

  it('what a person has to approve is shown', async () => {
    const approval = { tier: 'ops', approvers: ['role:approver'], ttl: 900, distinctFromRequester: true }
    expect(await could(mcp(allowAll, rule({ id: 'ask', effect: 'hold', approval })), 'tools/call', 'pay')).toBe('yes')
  })

  it('without the scope in the mandate it is not the rules that refuse', async () => {
    expect(await could(mcp(allowAll), 'tools/call', 'pay', 'bank:read')).toBe('scope')
    expect(await could(mcp(rule({ id: 'r', effect: 'allow', scopes: ['bank:read'] })), 'tools/call', 'pay', 'bank:read')).toBe('no')
  })

  it('nothing is shown without an active policy, and a change of it counts at once', async () => {
    const w = mcp(allowAll)
    const passage = await decidePassage(asked(w, 'tools/list', '', undefined, 'bank:read bank:pay'), w.dependencies)
    if (!passage.passed) throw new Error(passage.refusal.reason)
    expect(couldCall(passage.so, 'tools/call', 'pay', w.dependencies).could).toBe('yes')
    w.state.apply({ ...w.snapshot, version: 2, policy: policy([rule({ id: 'x', effect: 'deny' })]) })
    expect(couldCall(passage.so, 'tools/call', 'pay', w.dependencies).could).toBe('no')
    w.state.apply({ ...w.snapshot, version: 3, policy: null })
    expect(couldCall(passage.so, 'tools/call', 'pay', w.dependencies).could).toBe('no')
  })
})

describe('messages that do nothing by themselves', () => {
  it('a single-use mandate is not used up by them', async () => {
    const w = mcp(allowAll)
    const once = asked(w, 'tools/list', '', undefined, 'bank:read', { once: true })
    expect((await decidePassage(once, w.dependencies)).passed).toBe(true)
    expect((await decidePassage(once, w.dependencies)).passed).toBe(true)
    expect(w.claims.size).toBe(0)
    const call = { ...once, path: mcpPath('read_x'), mcp: { tool: 'read_x', arguments: {} }, method: 'tools/call' }
    expect(said(await decideCall(call, w.dependencies))).toBe('allow')
    expect(said(await decideCall({ ...call, requestId: w.call().requestId }, w.dependencies))).toBe('token_replayed')
  })

  it.each([
    ['another audience', (w: World) => asked(w, 'tools/list', '', undefined, 'bank:read', { aud: 'https://shop.example/' })],
    ['an expired mandate', (w: World) => asked(w, 'tools/list', '', undefined, 'bank:read', { exp: 1, iat: 0, nbf: 0 })],
    [
      'another resource in the path',
      (w: World) => ({ ...asked(w, 'tools/list', '', undefined, 'bank:read'), route: { by: 'name', value: 'shop' } as const }),
    ],
  ])('%s does not pass', async (_what, call) => {
    const w = mcp(allowAll)
    expect((await decidePassage(call(w), w.dependencies)).passed).toBe(false)
  })

  it('a revoked application does not pass', async () => {
    const w = mcp(allowAll)
    w.revoke(w.agent.id, 'application')
    expect((await decidePassage(asked(w, 'tools/list', '', undefined, 'bank:read'), w.dependencies)).passed).toBe(false)
  })
})
