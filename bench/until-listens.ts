import { createConnection } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Resolves when somebody accepts connections on this port of loopback; `check` may throw to give up, and 20 seconds are the limit. */
export async function untilListens(port: number, check: () => void): Promise<void> {
  const deadline = Date.now() + 20_000
  while (!(await accepts(port))) {
    check()
    if (Date.now() > deadline) throw new Error(`nothing listens on port ${port}`)
    await sleep(20)
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
