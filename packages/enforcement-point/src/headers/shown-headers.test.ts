import { expect, it } from 'vitest'
import { shownHeaders } from './shown-headers.ts'

it('rules see no header that is a credential', () => {
  const headers = { authorization: ['x'], cookie: ['x'], accept: ['a', 'b'], 'user-agent': ['me'] }
  expect(shownHeaders({ headersDistinct: headers })).toEqual({ accept: ['a', 'b'], 'user-agent': 'me' })
})
