import { ROLES } from '@caracal/core'
import { type Database, findUsableAdminToken } from '@caracal/postgres'
import {
  type AdminPrincipal,
  type Authenticator,
  createAdminAuthenticator,
  type Principal,
  type Rotating,
  validNow,
} from '@caracal/service'

/** Break-glass: holds every role by name, because no role stands for `approver` and nobody may hand out what he does not hold. */
const BOOTSTRAP: AdminPrincipal = { kind: 'admin', id: 'bootstrap', name: 'bootstrap', roles: ROLES, zone: null }

/** Admin tokens of the database, and the one that comes with the deployment. */
export function apiAuthenticator(database: Database, adminToken: Rotating<string> | undefined, now: () => number): Authenticator {
  return createAdminAuthenticator({
    deployment: [{ principal: BOOTSTRAP, values: () => validNow(adminToken) }],
    lookup: async (digest) => (await findUsableAdminToken(database.query, digest, now())) ?? null,
    now,
  })
}

/** The principal of a row that only tokens may call. */
export function adminOf(principal: Principal): AdminPrincipal {
  if (principal.kind !== 'admin') throw new Error('this row is for admin tokens')
  return principal
}
