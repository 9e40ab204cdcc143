import type { ServedServer } from './served-server.ts'

/** What the last look at each server found. */
export type ServerWatch = {
  readonly servers: readonly { readonly name: string; readonly isUp: () => boolean }[]
  /** Looks at all of them, now. Never rejects. */
  readonly look: () => Promise<void>
  readonly stop: () => void
}

/** How often. Milliseconds. */
const EVERY_MS = 5_000

/** Looks at every server now and then: whether it takes connections says nothing about others, nor about this process. */
export function watchServers(servers: readonly ServedServer[]): ServerWatch {
  const up = new Map<string, boolean>()
  const look = async () => {
    await Promise.all(servers.map(async (server) => up.set(server.name, await server.look())))
  }
  const timer = setInterval(look, EVERY_MS)
  timer.unref()
  return {
    servers: servers.map(({ name }) => ({ name, isUp: () => up.get(name) === true })),
    look,
    stop: () => clearInterval(timer),
  }
}
