/** Fires at the parsers for FUZZ_SECONDS each (60), all of them or those in FUZZ_TARGETS; FUZZ_SEED repeats a run. Stops at what it finds. */
import { randomInt } from 'node:crypto'
import { fire } from './target.ts'
import { TARGETS } from './targets/index.ts'

const seconds = Number(process.env.FUZZ_SECONDS ?? 60)
const wanted = (process.env.FUZZ_TARGETS ?? '').split(/[ ,]+/).filter((name) => name !== '')
const known = TARGETS.map(({ name }) => name)
const unknown = wanted.filter((name) => !known.includes(name))
if (unknown.length > 0 || !(seconds > 0)) {
  process.stderr.write(`FUZZ_SECONDS is a number; FUZZ_TARGETS are some of: ${known.join(' ')}\n`)
  process.exit(2)
}

for (const target of TARGETS.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  let fired = 0
  for (const end = performance.now() + seconds * 1000; performance.now() < end; fired += target.runs) {
    const seed = process.env.FUZZ_SEED === undefined || fired > 0 ? randomInt(2 ** 31) : Number(process.env.FUZZ_SEED)
    const report = await fire(target, { seed, runs: target.runs })
    if (report !== undefined) {
      process.stderr.write(`${report}\n`)
      process.exit(1)
    }
  }
  process.stdout.write(`${target.name.padEnd(16)}${String(fired).padStart(9)} inputs\n`)
}
