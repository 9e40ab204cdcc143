import { type Application, isId, type ZoneId } from '@caracal/core'
import type { CoordinatorDesk } from '../desk.ts'

/** An application of the zone by id or name; the zone is read anew once when it is not known yet. A revoked one is unknown. */
export async function applicationOf(
  desk: Pick<CoordinatorDesk, 'state' | 'view' | 'refresh'>,
  zone: ZoneId,
  text: string,
): Promise<Application | undefined> {
  const find = () => {
    const held = desk.state.zone(zone)
    return isId('application', text) ? held?.applications.get(text) : held?.applicationsByName.get(text)
  }
  let found = find()
  if (found === undefined) {
    await desk.refresh(zone)
    found = find()
  }
  return found !== undefined && desk.view.isRevoked([found.id]) === null ? found : undefined
}
