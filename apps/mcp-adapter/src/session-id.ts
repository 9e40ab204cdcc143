import { deriveRing, type KeyRing, type MandateClaims, ok, type Result, refuse, type SealPlace, seal, unsealText } from '@caracal/core'

/** Session ids of the older revisions, as clients hold them. */
export type SessionIds = {
  /** What the client gets in the place of the server's own id. */
  readonly seal: (server: string, claims: Holder, id: string) => string
  /** The server's own id; `not_found` for whoever it was not given to. */
  readonly open: (server: string, claims: Holder, sealed: string) => Result<string, 'not_found'>
}

type Holder = Pick<MandateClaims, 'zone' | 'client_id' | 'sub'>

/**
 * A session id that any replica opens, and only for the application and subject that began the session at that server (P-092): nothing is
 * kept here, and a stolen id is worth nothing to another caller.
 */
export function sessionIds(keys: KeyRing): SessionIds {
  const ring = () => deriveRing(keys, 'mcp-session')
  return {
    seal: (server, claims, id) => seal(ring(), place(server, claims), id),
    open(server, claims, sealed) {
      const opened = unsealText(ring(), place(server, claims), sealed)
      return opened.ok ? ok(opened.value) : refuse('not_found', 'no such session')
    },
  }
}

function place(server: string, { zone, client_id, sub }: Holder): SealPlace {
  return { zone, table: 'mcp_sessions', row: `${server} ${client_id} ${sub}`, column: 'id', version: 1 }
}
