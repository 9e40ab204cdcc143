import { defineConfig } from 'vitest/config'

/** What the compact deployment adds, on real processes: `make test-compact`. Auth modes over TLS, MCP, budgets, the wiring itself. */
export default defineConfig({
  test: {
    include: ['tests/compact/**/*.test.ts', 'tests/auth-modes/**/*.test.ts', 'tests/mcp/**/*.test.ts', 'tests/budgets/**/*.test.ts'],
    globalSetup: ['tests/harness/src/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 20_000 } },
    retry: process.env.CI ? 1 : 0,
    reporters: ['default'],
  },
})
