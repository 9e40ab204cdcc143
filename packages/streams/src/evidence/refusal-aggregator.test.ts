import { newId } from '@caracal/core'
import { expect, test } from 'vitest'
import { SILENT } from '../conformance/drivers.ts'
import type { EventDraft } from '../evidence-writer.ts'
import { startRefusalAggregator } from './refusal-aggregator.ts'

const zone = newId('zone')
const home = newId('zone')

function aggregator(record: (draft: EventDraft) => Promise<string>) {
  return startRefusalAggregator({ evidence: { record }, type: 'call.refused', logger: SILENT, homeZone: () => home, everyMs: 1_000_000 })
}

test('[P-095] refusals of one source, reason and zone are one event with their number', async () => {
  const events: EventDraft[] = []
  const refusals = aggregator(async (draft) => String(events.push(draft)))
  for (let at = 0; at < 7; at += 1) refusals.note({ source: '192.0.2.1', reason: 'invalid_token', zone })
  refusals.note({ source: '192.0.2.1', reason: 'malformed_path' })
  await refusals.flush()
  expect(events).toEqual([
    { zone, type: 'call.refused', decision: 'deny', reason: 'invalid_token', actor: { source: '192.0.2.1' }, count: 7 },
    { zone: home, type: 'call.refused', decision: 'deny', reason: 'malformed_path', actor: { source: '192.0.2.1' }, count: 1 },
  ])
  await refusals.close()
  expect(events).toHaveLength(2)
})

test('[P-095] a hundred thousand anonymous requests make a bounded number of events that count them all', async () => {
  const events: EventDraft[] = []
  const refusals = aggregator(async (draft) => String(events.push(draft)))
  for (let at = 0; at < 100_000; at += 1) {
    refusals.note({ source: `2001:db8::${at.toString(16)}`, reason: at % 2 ? 'invalid_token' : 'resource_unknown', zone: newId('zone') })
  }
  await refusals.close()
  expect(events.length).toBeLessThanOrEqual(202)
  expect(events.reduce((sum, event) => sum + (event.count ?? 0), 0)).toBe(100_000)
})

test('[P-095] what could not be recorded is counted on', async () => {
  const events: EventDraft[] = []
  let full = true
  const refusals = aggregator(async (draft) => {
    if (full) throw new Error('the spool is full')
    return String(events.push(draft))
  })
  refusals.note({ source: 'a', reason: 'invalid_token', zone })
  await refusals.flush()
  refusals.note({ source: 'a', reason: 'invalid_token', zone })
  full = false
  await refusals.close()
  expect(events.map(({ count }) => count)).toEqual([2])
})
