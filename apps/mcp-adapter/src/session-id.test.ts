import { randomBytes } from 'node:crypto'
import { keyRing, newId } from '@caracal/core'
import { describe, expect, it } from 'vitest'
import { approvalResult, canAsk, resumed } from './approval-request.ts'
import type { JsonObject, Message } from './message.ts'
import { sessionIds } from './session-id.ts'

const holder = { zone: newId('zone'), client_id: newId('application'), sub: 'someone' }
const keys = keyRing(randomBytes(32))

describe('[P-092] session ids are sealed', () => {
  const sealed = sessionIds(keys).seal('files', holder, 'their-own-id')

  it('open at every replica with the same keys, and say nothing', () => {
    expect(sessionIds(keys).open('files', holder, sealed)).toEqual({ ok: true, value: 'their-own-id' })
    expect(sealed).not.toContain('their-own-id')
    expect(sealed).toMatch(/^[\x21-\x7e]+$/)
  })

  it.each([
    ['another application', { ...holder, client_id: newId('application') }, 'files'],
    ['another subject', { ...holder, sub: 'somebody else' }, 'files'],
    ['another zone', { ...holder, zone: newId('zone') }, 'files'],
    ['another server', holder, 'mail'],
  ])('are nothing to %s', (_who, other, server) => {
    const ids = sessionIds(keys)
    expect(ids.open('files', holder, sealed).ok).toBe(true)
    // What is remembered of its holder is nobody else's either.
    for (const one of [ids, sessionIds(keys)]) expect(one.open(server, other, sealed)).toMatchObject({ ok: false, reason: 'not_found' })
  })

  it.each(['their-own-id', '', 'csv1.00000000.AA.AA', `${sealed}x`])('%s was never given to anybody', (text) => {
    expect(sessionIds(keys).open('files', holder, text)).toMatchObject({ ok: false, reason: 'not_found' })
  })

  it('stay the same for their holder, and are others for anybody else', () => {
    const ids = sessionIds(keys)
    const one = ids.seal('files', holder, 'an-id')
    expect([ids.seal('files', holder, 'an-id'), ids.open('files', holder, one)]).toEqual([one, { ok: true, value: 'an-id' }])
    expect(ids.seal('mail', holder, 'an-id')).not.toBe(one)
    expect(ids.seal('files', { ...holder, sub: 'somebody else' }, 'an-id')).not.toBe(one)
  })

  it('open while the key is in rotation, and not after it', () => {
    const [before, after] = [randomBytes(32), randomBytes(32)]
    const old = sessionIds(keyRing(before)).seal('files', holder, 'id')
    expect(sessionIds(keyRing(after, before)).open('files', holder, old).ok).toBe(true)
    expect(sessionIds(keyRing(after)).open('files', holder, old).ok).toBe(false)
  })
})

describe('a held call as the protocol asks for it', () => {
  type Request = Extract<Message, { kind: 'request' }>
  const states = sessionIds(keys)
  const request = (params: JsonObject): Request => ({
    kind: 'request',
    id: 7,
    method: 'tools/call',
    params,
    whole: { jsonrpc: '2.0', id: 7, method: 'tools/call', params },
  })
  const pay = request({ name: 'pay', arguments: { amount: 5 } })
  const stateOf = (answer: JsonObject) => String((answer.result as JsonObject).requestState)
  const state = stateOf(approvalResult(pay, 'ops', 'bank', holder, states))
  const again = (more: JsonObject) => resumed(request({ ...pay.params, ...more }), 'bank', holder, states)

  it('asks the client to come again, and takes away what was between them when it does', () => {
    expect(approvalResult(pay, 'ops', 'bank', holder, states)).toMatchObject({
      id: 7,
      result: {
        resultType: 'input_required',
        inputRequests: { approval: { method: 'elicitation/create', params: { message: expect.stringContaining('ops') } } },
      },
    })
    const answered = again({ requestState: state, inputResponses: { approval: { action: 'accept' } } })
    expect(answered.ok && answered.value.params).toEqual(pay.params)
    expect(answered.ok && answered.value.whole).toEqual(pay.whole)
  })

  it.each([
    ['declined', { requestState: state, inputResponses: { approval: { action: 'decline' } } }, 'approval_required'],
    ['not answered', { requestState: state }, 'approval_required'],
    [
      'other arguments',
      { arguments: { amount: 500 }, requestState: state, inputResponses: { approval: { action: 'accept' } } },
      'invalid_request',
    ],
    ['another tool', { name: 'drain', requestState: state, inputResponses: { approval: { action: 'accept' } } }, 'invalid_request'],
    ['a made-up state', { requestState: 'caracal.x', inputResponses: { approval: { action: 'accept' } } }, 'invalid_request'],
  ])('%s', (_what, more, reason) => {
    expect(again(more)).toMatchObject({ ok: false, reason })
  })

  it('of another caller is nothing, and a state of the server is left alone', () => {
    const stranger = { ...holder, sub: 'somebody else' }
    const theirs = request({ ...pay.params, requestState: state, inputResponses: { approval: { action: 'accept' } } })
    expect(resumed(theirs, 'bank', stranger, states).ok).toBe(false)
    const own = request({ ...pay.params, requestState: 'of the server', inputResponses: {} })
    expect(resumed(own, 'bank', holder, states)).toEqual({ ok: true, value: own })
  })

  it('asks only where the client can show a question', () => {
    const meta = (capabilities: JsonObject) => request({ _meta: { 'io.modelcontextprotocol/clientCapabilities': capabilities } })
    expect(canAsk(meta({ elicitation: {} }))).toBe(true)
    expect(canAsk(meta({}))).toBe(false)
    expect(canAsk(pay)).toBe(false)
  })
})
