import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createLogger, gracefulStop, listen } from './index.ts'

it('[P-145] cuts calls that never end and leaves hooks that hang, counts both, and still ends', async () => {
  const server = createServer((_request, response) => {
    response.write('begun')
  })
  const address = await listen(server, '127.0.0.1', 0)
  const lines: string[] = []
  const hanging = fetch(address.url).then((response) => response.text())
  hanging.catch(() => undefined)
  await sleep(50)
  const order: string[] = []
  const report = await gracefulStop({
    logger: createLogger({ name: 'x', level: 'info', write: (line) => lines.push(line) }),
    unready: () => order.push('unready'),
    drainDelayMs: 0,
    servers: [server],
    onClosing: () => order.push('closing'),
    hooks: [
      { name: 'database', stop: () => order.push('database') },
      { name: 'hangs', stop: () => new Promise(() => undefined) },
    ],
    last: async () => order.push('last'),
    finishMs: 150,
    hooksMs: 200,
  })
  expect(report).toMatchObject({ cutConnections: 1, failedHooks: ['hangs'] })
  expect(report.ms).toBeLessThan(2_000)
  expect(order).toEqual(['unready', 'closing', 'database', 'last'])
  expect(lines.join('')).toContain('calls in flight were cut')
  await expect(hanging).rejects.toThrow()
})
