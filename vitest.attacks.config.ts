import { defineConfig } from 'vitest/config'

/** What attackers try at running processes, and whether a verifier that is not ours believes the ledger: `make test-attacks`. */
export default defineConfig({
  test: {
    include: ['tests/attacks/**/*.test.ts', 'tests/interop/**/*.test.ts'],
    globalSetup: ['tests/harness/src/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 10_000 } },
    retry: process.env.CI ? 1 : 0,
    reporters: ['default'],
  },
})
