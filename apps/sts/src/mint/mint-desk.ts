import type { Refusal, ZoneId } from '@caracal/core'
import type { MandateVerifier } from '@caracal/enforcement'
import type { EvidenceWriter } from '@caracal/streams'
import type { ClientDesk } from '../client/authenticate-client.ts'
import type { LineageReader } from '../zones/lineage-reader.ts'

/** What the steps of a mint work with. */
export type MintDesk = ClientDesk & {
  readonly mandates: MandateVerifier
  readonly lineages: LineageReader
  readonly evidence: Pick<EvidenceWriter, 'record'>
  /** Why a mint of this zone would only wait; null = go ahead (P-169). */
  readonly shed?: (zone: ZoneId) => Refusal | null
}
