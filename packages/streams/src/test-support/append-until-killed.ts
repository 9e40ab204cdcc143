import { AppendLog } from '../spool/append-log.ts'
import { recoverSegments } from '../spool/spool-files.ts'

/** Appends to the spool of the directory named as argument and writes the number of every event that became durable. */
const logger = { info: () => {}, warn: () => {}, error: () => {} }
const dir = process.argv[2] ?? ''
const segments = await recoverSegments(dir, logger)
const seal = (first: number, texts: readonly string[]) => texts.map((text, at) => `record ${first + at} ${text}\n`).join('')
// Long enough for a segment that is made beforehand, and for a few of them.
const log = new AppendLog({ dir, segments, logger, seal, segmentBytes: 1024 * 1024, maxBytes: 1 << 30, onDurable: () => {} })
await log.open()
for (;;) {
  const appended = Array.from({ length: 20 }, () => log.append('x'.repeat(500)))
  for (const seq of await Promise.all(appended)) process.stdout.write(`${seq}\n`)
}
