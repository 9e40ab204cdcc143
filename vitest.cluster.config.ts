import { defineConfig } from 'vitest/config'

/** What is proved on a real Kubernetes: `make test-cluster`. One node, one file at a time. */
export default defineConfig({
  test: {
    include: ['tests/cluster/**/*.test.ts'],
    globalSetup: ['tests/cluster/global-setup.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 600_000,
    hookTimeout: 600_000,
    expect: { poll: { timeout: 60_000, interval: 250 } },
    // Two processors carry a whole cluster: in CI a step has a second try, which the output shows.
    retry: process.env.CI ? 1 : 0,
    reporters: ['verbose'],
  },
})
