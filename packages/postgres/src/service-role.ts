/** Services that hold a database credential; the Gateway holds none. Each acts as a role of its own (P-132). */
export const SERVICE_ROLES = ['api', 'sts', 'audit', 'coordinator'] as const
export type ServiceRole = (typeof SERVICE_ROLES)[number]

/** The role in Postgres that has the grants and policies of a service; nobody logs in as it. */
export function databaseRole(service: ServiceRole): string {
  return `caracal_${service}`
}

/** Puts a transaction in the place of a service and a zone, and nothing after it. Parameters: role, zone or nothing. */
export const ENTER_SCOPE = `select set_config('role', $1, true), set_config('caracal.zone', $2, true)`
