import { deriveRing, type KeyRing, type MandateClaims, ok, type Result, refuse, type SealPlace, seal, unsealText } from '@caracal/core'

/** Session ids of the older revisions, as clients hold them. */
export type SessionIds = {
  /** What the client gets in the place of the server's own id. */
  readonly seal: (server: string, claims: Holder, id: string) => string
  /** The server's own id; `not_found` for whoever it was not given to. */
  readonly open: (server: string, claims: Holder, sealed: string) => Result<string, 'not_found'>
}

type Holder = Pick<MandateClaims, 'zone' | 'client_id' | 'sub'>

/** Ids that are remembered, so that not every request of a session costs cryptography; the others are opened anew. */
const REMEMBERED = 10_000
/** A server that makes longer ones pays for each request. */
const LONGEST = 2_048

/**
 * A session id that any replica opens, and only for the application and subject that began the session at that server (P-092): nothing has to
 * be kept here, and a stolen id is worth nothing to another caller. What was sealed or opened is remembered, for its holder.
 */
export function sessionIds(keys: KeyRing): SessionIds {
  const ring = deriveRing(keys, 'mcp-session')
  const sealed = new Map<string, string>()
  const opened = new Map<string, string>()
  return {
    seal(server, claims, id) {
      const at = place(server, claims)
      const key = keyOf(at, id)
      const before = sealed.get(key)
      if (before !== undefined) return before
      const text = seal(ring, at, id)
      remember(sealed, key, text)
      return text
    },
    open(server, claims, text) {
      const at = place(server, claims)
      const key = keyOf(at, text)
      const before = opened.get(key)
      if (before !== undefined) return ok(before)
      const found = unsealText(ring, at, text)
      if (!found.ok) return refuse('not_found', 'no such session')
      remember(opened, key, found.value)
      return ok(found.value)
    },
  }
}

function place(server: string, { zone, client_id, sub }: Holder): SealPlace {
  return { zone, table: 'mcp_sessions', row: `${server} ${client_id} ${sub}`, column: 'id', version: 1 }
}

/** JSON keeps apart what stands beside one another: the last part is the caller's own text. */
function keyOf({ zone, row }: SealPlace, text: string): string {
  return JSON.stringify([zone, row, text])
}

function remember(memory: Map<string, string>, key: string, value: string): void {
  if (key.length + value.length > LONGEST) return
  if (memory.size >= REMEMBERED) for (const oldest of memory.keys()) if (memory.delete(oldest)) break
  memory.set(key, value)
}
