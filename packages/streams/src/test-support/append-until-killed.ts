import { AppendLog } from '../spool/append-log.ts'
import { recoverSegments } from '../spool/spool-files.ts'

/** Appends to the spool of the directory named as argument and writes the number of every record that became durable. */
const logger = { info: () => {}, warn: () => {}, error: () => {} }
const dir = process.argv[2] ?? ''
const segments = await recoverSegments(dir, logger)
const log = new AppendLog({ dir, segments, logger, segmentBytes: 64 * 1024, maxBytes: 1 << 30, onDurable: () => {} })
await log.open()
for (;;) {
  const appended = Array.from({ length: 20 }, () => log.append('zone', (seq) => `record ${seq} ${'x'.repeat(seq % 300)}`))
  for (const seq of await Promise.all(appended)) process.stdout.write(`${seq}\n`)
}
