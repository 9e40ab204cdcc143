import { defineConfig } from 'vitest/config'

/** The Helm chart: `make test-chart`. Real Helm 3 and 4, kubeconform and promtool; no server is started. */
export default defineConfig({
  test: {
    include: ['tests/chart/**/*.test.ts'],
    globalSetup: ['tests/chart/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // A test renders many times; a machine that builds something beside it needs longer.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    reporters: ['default'],
  },
})
