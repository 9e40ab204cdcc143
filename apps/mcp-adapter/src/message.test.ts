import { classifyInboundRequest } from '@modelcontextprotocol/server'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { askedBy } from './asked-operation.ts'
import { eraOf } from './era.ts'
import { readBody } from './message.ts'

const read = (text: string) => readBody(Buffer.from(text))
const call = (params: string) => `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`

describe('[P-089] the one parse of a body', () => {
  it.each([
    ['no JSON', '{', 'malformed_json'],
    ['a key twice', call('{"name":"safe","name":"danger"}'), 'malformed_json'],
    ['a key twice, once escaped', call('{"name":"safe","n\\u0061me":"danger"}'), 'malformed_json'],
    ['a key twice deep in the arguments', call('{"name":"x","arguments":{"a":{"b":1,"b":2}}}'), 'malformed_json'],
    ['__proto__', call('{"name":"x","arguments":{"__proto__":{}}}'), 'malformed_json'],
    ['a known member in another case', call('{"name":"safe","Name":"danger"}'), 'invalid_request'],
    ['arguments in another case', call('{"name":"safe","Arguments":{}}'), 'invalid_request'],
    ['a member that JSON-RPC does not have', '{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}', 'invalid_request'],
    ['another version', '{"jsonrpc":"1.0","id":1,"method":"ping"}', 'invalid_request'],
    ['an id that is an object', '{"jsonrpc":"2.0","id":{},"method":"ping"}', 'invalid_request'],
    ['an id that is null', '{"jsonrpc":"2.0","id":null,"method":"ping"}', 'invalid_request'],
    ['a request that is an answer too', '{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', 'invalid_request'],
    ['an answer with both', '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', 'invalid_request'],
    ['params that is a list', '{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', 'invalid_request'],
    ['an empty batch', '[]', 'invalid_request'],
    ['a batch in a batch', '[[]]', 'invalid_request'],
    ['a batch that is too long', `[${Array(51).fill('{"jsonrpc":"2.0","method":"x"}').join(',')}]`, 'invalid_request'],
    ['a text', '"x"', 'invalid_request'],
  ])('%s is refused', (_what, text, reason) => {
    expect(read(text)).toMatchObject({ ok: false, reason })
  })

  it('what is not UTF-8 is no text', () => {
    expect(readBody(Buffer.from([0x22, 0xff, 0x22]))).toMatchObject({ ok: false, reason: 'malformed_json' })
  })

  it('requests, notifications, responses and batches are told apart', () => {
    const kinds = (text: string) => {
      const body = read(text)
      return body.ok && body.value.messages.map(({ kind }) => kind)
    }
    expect(kinds('{"jsonrpc":"2.0","id":"a","method":"ping"}')).toEqual(['request'])
    expect(kinds('{"jsonrpc":"2.0","method":"notifications/initialized"}')).toEqual(['notification'])
    expect(kinds('{"jsonrpc":"2.0","id":1,"result":{}}')).toEqual(['response'])
    expect(kinds('[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"error":{}}]')).toEqual(['request', 'response'])
  })
})

const META = '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}'

/** The era of a request with these headers, or the code of its refusal. */
function era(text: string, headers: Record<string, string>): string | number | undefined {
  const body = read(text)
  if (!body.ok) throw new Error(body.detail)
  const headersDistinct = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.split('|')]))
  const found = eraOf({ headersDistinct, method: 'POST' }, body.value)
  return found.ok ? found.value : (found.data?.code as number)
}

describe('[P-089] headers that contradict the body', () => {
  const modern = call(`{"name":"echo",${META}}`)
  const right = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'echo' }
  const legacy = call('{"name":"echo"}')

  it.each<[string, string, Record<string, string>, string | number]>([
    ['agree', modern, right, 'modern'],
    ['agree, encoded', modern, { ...right, 'mcp-name': `=?base64?${Buffer.from('echo').toString('base64')}?=` }, 'modern'],
    ['name another tool', modern, { ...right, 'mcp-name': 'other' }, -32020],
    ['name another tool, encoded', modern, { ...right, 'mcp-name': `=?base64?${Buffer.from('other').toString('base64')}?=` }, -32020],
    ['cannot be decoded', modern, { ...right, 'mcp-name': '=?base64?!!?=' }, -32020],
    ['name another method', modern, { ...right, 'mcp-method': 'tools/list' }, -32020],
    ['name another revision', modern, { ...right, 'mcp-protocol-version': '2025-06-18' }, -32020],
    ['name two tools', modern, { ...right, 'mcp-name': 'echo|other' }, -32020],
    ['lack the method', modern, { 'mcp-protocol-version': '2026-07-28', 'mcp-name': 'echo' }, -32020],
    ['lack the name', modern, { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call' }, -32020],
    ['are none, in an older revision', legacy, {}, 'legacy'],
    ['agree, in an older revision', legacy, { 'mcp-method': 'tools/call', 'mcp-name': 'echo' }, 'legacy'],
    ['name another tool, in an older revision', legacy, { 'mcp-name': 'other' }, -32020],
    ['name another method, in an older revision', legacy, { 'mcp-method': 'ping' }, -32020],
  ])('%s', (_what, text, headers, expected) => {
    // What is remembered of one request is true of the next only where it is the same.
    expect([era(text, headers), era(text, headers)]).toEqual([expected, expected])
  })
})

describe('the revision of a request is what the SDK says it is, also when it said so before', () => {
  const version = fc.constantFrom('2024-11-05', '2025-11-25', '2026-07-28', '2027-01-01', 'x')
  const meta = fc.record(
    {
      'io.modelcontextprotocol/protocolVersion': fc.oneof(version, fc.constant(7)),
      'io.modelcontextprotocol/clientCapabilities': fc.constantFrom({}, { elicitation: {} }, null, 'all'),
      'io.modelcontextprotocol/clientInfo': fc.constantFrom({ name: 'a', version: '1' }, { name: 7 }),
      progressToken: fc.constantFrom('a', 1, 1.5, null),
      traceparent: fc.constantFrom('00-1', 7),
      other: fc.json(),
    },
    { requiredKeys: [] },
  )
  const params = fc.record({ name: fc.constant('echo'), _meta: meta }, { requiredKeys: ['name'] })

  it('for every header and envelope', () => {
    const method = fc.constantFrom('tools/call', 'initialize')
    fc.assert(
      fc.property(version, method, params, (header, asked, given) => {
        const body = { jsonrpc: '2.0', id: 1, method: asked, params: given }
        const headers = { 'mcp-protocol-version': header, 'mcp-method': asked, 'mcp-name': 'echo' }
        const said = classifyInboundRequest({
          httpMethod: 'POST',
          protocolVersionHeader: header,
          mcpMethodHeader: asked,
          mcpNameHeader: 'echo',
          body,
        })
        const expected = said.kind === 'reject' ? said.code : said.kind
        const text = JSON.stringify(body)
        expect([era(text, headers), era(text, headers)]).toEqual([expected, expected])
      }),
      { numRuns: 400 },
    )
  })
})

describe('what a message asks for', () => {
  const asked = (text: string) => {
    const body = read(text)
    const [message] = body.ok ? body.value.messages : []
    if (message === undefined) throw new Error('does not parse')
    const found = askedBy(message)
    return found.ok ? found.value : found.reason
  }
  const request = (method: string, params: unknown) => JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })

  it.each([
    ['tools/call', { name: 'echo', arguments: { a: 1 } }, { as: 'operation', method: 'tools/call', name: 'echo', arguments: { a: 1 } }],
    ['tools/call', { name: 'echo', arguments: [1] }, { as: 'operation', arguments: undefined }],
    ['resources/read', { uri: 'note://x' }, { as: 'operation', method: 'resources/read', name: 'note://x' }],
    ['resources/subscribe', { uri: 'note://x' }, { as: 'operation', method: 'resources/read', name: 'note://x' }],
    ['prompts/get', { name: 'greet' }, { as: 'operation', method: 'prompts/get', name: 'greet' }],
    [
      'completion/complete',
      { ref: { type: 'ref/prompt', name: 'greet' } },
      { as: 'guarded', names: [{ method: 'prompts/get', name: 'greet' }] },
    ],
    [
      'subscriptions/listen',
      { notifications: { resourceSubscriptions: ['note://x'] } },
      { as: 'guarded', names: [{ method: 'resources/read', name: 'note://x' }] },
    ],
    ['tasks/cancel', { taskId: 't' }, { as: 'operation', method: 'tasks/cancel', name: 't' }],
    ['something/new', {}, { as: 'operation', method: 'something/new', name: '-' }],
    ['tools/list', {}, { as: 'list' }],
    ['initialize', {}, { as: 'passage' }],
  ])('%s %j', (method, params, expected) => {
    expect(asked(request(method, params))).toMatchObject(expected)
  })

  it.each(['tools/call', 'resources/read', 'something/new', 'initialize'])('%s without an id is no notification', (method) => {
    expect(asked(JSON.stringify({ jsonrpc: '2.0', method, params: { name: 'echo', uri: 'note://x' } }))).toBe('invalid_request')
  })

  it.each([
    ['tools/call', {}],
    ['tools/call', { name: 7 }],
    ['resources/read', { uri: ['a'] }],
    ['completion/complete', { ref: { type: 'ref/other' } }],
    ['subscriptions/listen', { notifications: { resourceSubscriptions: [7] } }],
  ])('%s %j does not say of what', (method, params) => {
    expect(asked(request(method, params))).toBe('invalid_request')
  })
})
