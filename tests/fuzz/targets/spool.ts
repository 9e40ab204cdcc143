import { encodeRecord, type SpoolRecord, scanRecords } from '../../../packages/streams/src/spool/segment.ts'
import { mutated } from '../mutate.ts'
import { same } from '../same.ts'
import { target } from '../target.ts'

const records: SpoolRecord[] = [
  { first: 7, count: 1, payload: 'a' },
  { first: 8, count: 3, payload: 'ä\n'.repeat(9) },
  { first: 11, count: 256, payload: '' },
  { first: 267, count: 1, payload: 'x'.repeat(300) },
  { first: 268, count: 2, payload: '\u00ca\u00ca' },
]
const bytes = Buffer.concat(records.map(encodeRecord))

export const spool = target(
  {
    name: 'spool',
    guarantee:
      '[P-098] of a damaged segment every whole record is found once and in order, none that was not written, and what is lost between is told by number',
    runs: 4000,
  },
  mutated([bytes, bytes.subarray(0, 90), Buffer.concat([bytes, Buffer.alloc(40)])], 3),
  (damaged) => {
    let next = 7
    let at = 0
    for (const found of scanRecords(damaged, 7)) {
      if (found.end <= at && !('lost' in found)) throw new Error('goes back')
      at = found.end
      if ('lost' in found) {
        same(found.lost, next)
        if (found.upTo < found.lost) throw new Error('an empty loss')
        next = found.upTo + 1
        continue
      }
      const { record } = found
      same(record.first, next, 'number')
      if (!records.some((written) => JSON.stringify(written) === JSON.stringify(record)))
        throw new Error(`nobody wrote ${JSON.stringify(record)}`)
      next += record.count
    }
    if (at > damaged.length) throw new Error('past the end')
    // What stands untouched at the beginning is always found.
    const whole = records.findIndex((_, n) => !damaged.subarray(0, sizeOf(n)).equals(bytes.subarray(0, sizeOf(n))))
    const untouched = records.slice(0, whole === -1 ? records.length : whole)
    const found = [...scanRecords(damaged, 7)].flatMap((one) => ('record' in one ? [one.record] : []))
    same(found.slice(0, untouched.length), untouched, 'untouched')
  },
)

function sizeOf(last: number): number {
  return Buffer.concat(records.slice(0, last + 1).map(encodeRecord)).length
}
