import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeRecord, MAX_RECORD_BYTES, type SpoolRecord, scanRecords } from './segment.ts'

const records: SpoolRecord[] = Array.from({ length: 6 }, (_, at) => ({
  first: 41 + at * 3,
  count: 3,
  payload: `{"event":"é${'x'.repeat(at * 7)}"}`,
}))
const whole = Buffer.concat(records.map(encodeRecord))

test('what is written is read: any text, in order', () => {
  const text = fc.string({ unit: 'binary', maxLength: 200 }).map((value) => value.toWellFormed())
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 ** 50 }),
      fc.array(fc.tuple(fc.integer({ min: 1, max: 256 }), text), { maxLength: 20 }),
      (from, list) => {
        let first = from
        const written = list.map(([count, payload]) => {
          first += count
          return { first: first - count, count, payload }
        })
        const found = [...scanRecords(Buffer.concat(written.map(encodeRecord)), from)]
        expect(found.map((item) => ('record' in item ? item.record : item))).toEqual(written)
      },
    ),
  )
})

test('[P-098] a file that was cut at any byte holds exactly the records that are whole', () => {
  const ends: number[] = []
  for (const record of records) ends.push((ends.at(-1) ?? 0) + encodeRecord(record).length)
  for (let length = 0; length <= whole.length; length += 1) {
    const found = [...scanRecords(whole.subarray(0, length), 41)]
    expect(found.map((item) => ('record' in item ? item.record : item))).toEqual(
      records.slice(0, ends.filter((end) => end <= length).length),
    )
  }
})

test('[P-098] one byte that is changed costs at most the record it stands in, and that one is named', () => {
  for (let at = 0; at < whole.length; at += 1) {
    const changed = Buffer.from(whole)
    changed[at] = (changed[at] ?? 0) ^ 0x41
    const seen: number[] = []
    const lost: number[] = []
    for (const item of scanRecords(changed, 41)) {
      if ('record' in item) seen.push(item.record.first)
      else for (let seq = item.lost; seq <= item.upTo; seq += 1) lost.push(seq)
    }
    expect(seen.length, `byte ${at}`).toBe(5)
    const missing = records.filter(({ first }) => !seen.includes(first)).flatMap(({ first }) => [first, first + 1, first + 2])
    // The last one has no record behind it from which its loss could be told.
    expect(lost).toEqual(missing[0] === 56 ? [] : missing)
  }
})

test('a record beyond the limit is refused when it is written', () => {
  expect(() => encodeRecord({ first: 1, count: 1, payload: 'x'.repeat(MAX_RECORD_BYTES) })).toThrow(RangeError)
})
