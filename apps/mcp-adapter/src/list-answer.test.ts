import { describe, expect, it } from 'vitest'
import { answerTo } from './list-answer.ts'

const answered = (text: string, type = 'text/event-stream') => answerTo(3, { headers: { 'content-type': type }, body: Buffer.from(text) })
const response = '{"jsonrpc":"2.0","id":3,"result":{"tools":[]}}'

describe('the answer to a list', () => {
  it('is found as JSON and in a stream, after what came before it', () => {
    expect(answered(response, 'application/json')?.response).toMatchObject({ id: 3 })
    const progress = '{"jsonrpc":"2.0","method":"notifications/progress","params":{}}'
    const found = answered(`id: 1\ndata:\n\nevent: message\r\ndata: ${progress}\r\n\r\nevent: message\ndata: ${response}\n\n`)
    expect(found?.before).toHaveLength(1)
    expect(found?.response).toMatchObject({ id: 3 })
  })

  it.each([
    ['an unfinished event', `data: ${response}\n`],
    ['another request', `data: ${response.replace('3', '4')}\n\n`],
    ['no JSON', 'data: hello\n\n'],
    ['a member twice', `data: {"jsonrpc":"2.0","id":3,"result":{},"result":{"tools":[]}}\n\n`],
    ['nothing', ''],
  ])('is not in %s', (_what, text) => {
    expect(answered(text)).toBeNull()
  })
})
