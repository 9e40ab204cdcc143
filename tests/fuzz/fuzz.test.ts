import { describe, expect, test } from 'vitest'
import { fire } from './target.ts'
import { TARGETS } from './targets/index.ts'

/** The same inputs each time; another seed, and as many as one likes: `make fuzz`. */
const SEED = Number(process.env.FUZZ_SEED ?? 20_260_101)

describe('under fire', () => {
  test.each(TARGETS)(
    '$name: $guarantee',
    async (target) => {
      expect(await fire(target, { seed: SEED, runs: target.runs })).toBeUndefined()
    },
    120_000,
  )
})
