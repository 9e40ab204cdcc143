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
    // CI gives a scenario a second try, and says so; what was lost in the first stays counted, and the run fails.
    retry: process.env.CI ? 1 : 0,
    reporters: ['verbose'],
  },
})
