import type { RouteRow } from '@caracal/service'
import type { CoordinatorDesk } from '../desk.ts'

export function delegationRoutes(_desk: CoordinatorDesk): RouteRow[] {
  return []
}
