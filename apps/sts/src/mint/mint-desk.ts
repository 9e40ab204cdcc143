import type { MandateVerifier } from '@caracal/enforcement'
import type { EvidenceWriter } from '@caracal/streams'
import type { ClientDesk } from '../client/authenticate-client.ts'
import type { LineageReader } from '../zones/lineage-reader.ts'

/** What the steps of a mint work with. */
export type MintDesk = ClientDesk & {
  readonly mandates: MandateVerifier
  readonly lineages: LineageReader
  readonly evidence: Pick<EvidenceWriter, 'record'>
}
