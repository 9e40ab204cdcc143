import { createConnection, createServer } from 'node:net'

/** A port on loopback that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => (address !== null && typeof address === 'object' ? resolve(address.port) : reject(new Error('no port'))))
    })
  })
}

/**
 * The first of `count` ports in a row on loopback that were free a moment ago, below those that outgoing connections take: what
 * listens there can be ended and started again on the same port.
 */
export async function freePorts(count: number): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const first = 10_000 + Math.floor(Math.random() * 2_900)
    const taken = await Promise.all(Array.from({ length: count }, (_, at) => isTaken(first + at)))
    if (!taken.includes(true)) return first
  }
  throw new Error('no free ports')
}

/** Whether something listens on a port of loopback. */
export function isTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
