import type { PGlite, PGliteTransaction } from 'kysely'
import { databaseRole, ENTER_SCOPE, type ServiceRole } from './service-role.ts'
import { currentZone } from './zone-scope.ts'

/** The embedded Postgres as a service has it: every statement runs under its role and in the zone that is current. */
export function scopedEmbedded(pglite: PGlite, service: ServiceRole): PGlite {
  const role = databaseRole(service)
  const transaction: PGlite['transaction'] = (work) =>
    pglite.transaction((tx) => {
      let entered: string | undefined
      const query: PGlite['query'] = async (text, values, options) => {
        const zone = currentZone() ?? ''
        if (entered !== zone) await tx.query(ENTER_SCOPE, [role, zone])
        entered = zone
        return await tx.query(text, values, options)
      }
      const scoped: PGliteTransaction = { query, rollback: () => tx.rollback() }
      return work(scoped)
    })
  return {
    transaction,
    query: (text, values, options) => transaction((tx) => tx.query(text, values, options)),
    close: async () => {}, // it is that of the database that this is a view of
    get closed() {
      return pglite.closed
    },
    get ready() {
      return pglite.ready
    },
    get waitReady() {
      return pglite.waitReady
    },
  }
}
