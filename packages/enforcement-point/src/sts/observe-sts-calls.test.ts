import { ok, refuse } from '@caracal/core'
import { createMetrics, type InternalClient } from '@caracal/service'
import Type from 'typebox'
import { expect, test } from 'vitest'
import { observeStsCalls } from './observe-sts-calls.ts'

test('calls that the STS does not answer are errors, refusals are answers; five errors in a row cut it off until one is answered', async () => {
  const metrics = createMetrics({ service: 'gateway', version: '1', mode: 'dev' })
  let next: () => unknown = () => ok({})
  const client = observeStsCalls({ call: async () => next(), close: async () => {} } as unknown as InternalClient, metrics)
  const call = () => client.call('/internal/sync', {}, { reply: Type.Object({}) })
  const seen = async () => {
    const { body } = await metrics.text()
    const value = (line: string) =>
      Number(
        body
          .split('\n')
          .find((one) => one.startsWith(`${line} `))
          ?.split(' ')[1],
      )
    return [
      value('caracal_gateway_sts_calls_total{result="ok"}'),
      value('caracal_gateway_sts_calls_total{result="error"}'),
      value('caracal_gateway_sts_circuit_open'),
    ]
  }
  expect(await seen()).toEqual([0, 0, 0])
  next = () => refuse('not_found')
  await call()
  expect(await seen()).toEqual([1, 0, 0])
  next = () => refuse('sts_unavailable')
  for (let i = 0; i < 5; i += 1) await call()
  expect(await seen()).toEqual([1, 5, 1])
  next = () => ok({})
  await call()
  expect(await seen()).toEqual([2, 5, 0])
  metrics.close()
})
