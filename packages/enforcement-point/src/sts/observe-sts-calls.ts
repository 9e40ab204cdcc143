import type { InternalClient, Metrics } from '@caracal/service'

/** Calls in a row that the STS did not answer, after which it counts as cut off from here. */
const CUT_OFF_AFTER = 5
/** The STS did not answer: what it refuses is an answer. */
const AWAY = 'sts_unavailable'

/** The client, with `caracal_gateway_sts_calls_total{result}` and `caracal_gateway_sts_circuit_open`. */
export function observeStsCalls(client: InternalClient, metrics: Metrics): InternalClient {
  const calls = metrics.counter('caracal_gateway_sts_calls_total', 'Calls to the STS: answered, or not.', ['result'])
  for (const result of ['ok', 'error']) calls.inc({ result }, 0)
  let failures = 0
  metrics.gauge('caracal_gateway_sts_circuit_open', '1 while the last five calls to the STS were not answered.', [], (own) =>
    own.set(failures >= CUT_OFF_AFTER ? 1 : 0),
  )
  const away = () => {
    failures += 1
    calls.inc({ result: 'error' })
  }
  return {
    async call(path, body, options) {
      try {
        const answer = await client.call(path, body, options)
        if (!answer.ok && answer.reason === AWAY) away()
        else {
          failures = 0
          calls.inc({ result: 'ok' })
        }
        return answer
      } catch (error) {
        away()
        throw error
      }
    },
    close: () => client.close(),
  }
}
