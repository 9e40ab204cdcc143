import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['packages/*/src/**/*.test.ts', 'apps/*/src/**/*.test.ts', 'infra/helm/*.test.ts', 'tests/**/*.test.ts'],
    // The slow suites have configurations and targets of their own.
    exclude: [
      '**/node_modules/**',
      ...['attacks', 'interop', 'chaos', 'chart', 'cluster', 'compact', 'auth-modes', 'mcp', 'budgets'].map(
        (folder) => `tests/${folder}/**`,
      ),
    ],
    globalSetup: ['tests/harness/src/global-setup.ts'],
    pool: 'forks',
    // Much of the time is waiting for servers, heartbeats and bounds: one worker more than the smallest machine has cores.
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 120_000,
    // Bounds are the tests' own; what is waited for without one may take its time on a busy machine.
    expect: { poll: { timeout: 10_000 } },
    // Real servers on a shared machine: CI gives a test a second try, and says so; by hand there is none.
    retry: process.env.CI ? 1 : 0,
    reporters: ['default'],
  },
})
