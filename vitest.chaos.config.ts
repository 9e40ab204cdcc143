import { defineConfig } from 'vitest/config'

/** The long fault suite: `make test-chaos`. Each file has servers and processes of its own. */
export default defineConfig({
  test: {
    include: ['tests/chaos/**/*.test.ts'],
    globalSetup: ['tests/harness/src/global-setup.ts', 'tests/chaos/count-evidence.ts'],
    pool: 'forks',
    // Most of the time is outages that last: two installations side by side are what two cores carry.
    maxWorkers: 2,
    testTimeout: 240_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000, interval: 200 } },
    // What was lost once was lost: no second try.
    retry: 0,
    reporters: ['verbose'],
  },
})
