import { createServer } from 'node:net'
import { openDatabase } from '@caracal/postgres'
import { EvidenceUnavailable, StoreUnavailable } from '@caracal/streams'
import { describe, expect, it } from 'vitest'
import { infrastructureReason } from './index.ts'

const coded = (code: string, message = 'x') => Object.assign(new Error(message), { code })

describe('[P-174] what is thrown', () => {
  it.each([
    ['a refused connection', coded('ECONNREFUSED'), 'store_unavailable'],
    ['several refused connections', new AggregateError([coded('ECONNREFUSED'), coded('ECONNREFUSED')]), 'store_unavailable'],
    ['a server that shuts down', coded('57P01'), 'store_unavailable'],
    ['a full disk', coded('53100'), 'store_full'],
    ['a read-only server', coded('25006'), 'store_read_only'],
    ['a statement that took too long', coded('57014'), 'store_unavailable'],
    ['a full Redis', new Error('OOM command not allowed when used memory > maxmemory'), 'store_full'],
    ['a Redis that is a replica', new Error("READONLY You can't write against a read only replica."), 'store_read_only'],
    [
      'a transaction that a full Redis refused',
      Object.assign(new Error('EXECABORT Transaction discarded'), { previousErrors: [new Error('OOM command not allowed')] }),
      'store_full',
    ],
    ['a full stream store', new StoreUnavailable('x', { cause: new Error('OOM command not allowed') }), 'store_full'],
    ['a wrapped error', new Error('outer', { cause: coded('ECONNRESET') }), 'store_unavailable'],
    ['evidence that cannot be kept', new EvidenceUnavailable('full'), 'evidence_unavailable'],
    ['a unique violation', coded('23505'), undefined],
    ['a syntax error in SQL', coded('42601'), undefined],
    ['a bug', new TypeError('x is not a function'), undefined],
    ['text', 'ECONNREFUSED', undefined],
  ])('%s', (_name, error, reason) => expect(infrastructureReason(error)).toBe(reason))

  it('by a real driver without its server is a store that is away', async () => {
    const gone = createServer()
    await new Promise<void>((resolve) => gone.listen(0, '127.0.0.1', resolve))
    const { port } = gone.address() as { port: number }
    await new Promise((resolve) => gone.close(resolve))
    const database = await openDatabase({ url: `postgres://u:p@127.0.0.1:${port}/d?sslmode=disable` })
    const error = await database.query
      .selectFrom('zones')
      .select('id')
      .execute()
      .then(
        () => undefined,
        (thrown: unknown) => thrown,
      )
    expect(infrastructureReason(error)).toBe('store_unavailable')
    await database.close()
  })
})
