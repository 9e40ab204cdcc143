import type { ZoneId } from '../id.ts'
import type { UnixMillis } from '../time.ts'

/** What every stored entity has. `version` counts changes of the row and is its ETag. */
export type Stored = {
  readonly version: number
  readonly createdAt: UnixMillis
  readonly updatedAt: UnixMillis
}

/** A trust boundary: its own keys, configuration, policy and ledger. */
export type Zone = Stored & {
  readonly id: ZoneId
  readonly name: string
  readonly labels: readonly string[]
}

/** People use names: lower-case letters, digits and inner hyphens, as in DNS, so that a name can be a host label. */
export const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/
