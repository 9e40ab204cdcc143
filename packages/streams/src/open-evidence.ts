import { type EvidenceWriterOptions, openEvidenceWriter, type SpoolEvidenceWriter } from './evidence/spool-evidence-writer.ts'
import { openWriteThrough } from './write-through/write-through-evidence-writer.ts'

/** What an effect waits for: fsync in the spool, the commit of its evidence in Postgres, or (dev only) nothing. */
export const EVIDENCE_MODES = ['write-ahead', 'write-through', 'async'] as const
export type EvidenceMode = (typeof EVIDENCE_MODES)[number]

/** The writer of a mode. `write-through` needs no folder. */
export function openEvidence(options: Omit<EvidenceWriterOptions, 'mode'> & { readonly mode: EvidenceMode }): Promise<SpoolEvidenceWriter> {
  const { mode, ...rest } = options
  return mode === 'write-through' ? Promise.resolve(openWriteThrough(rest)) : openEvidenceWriter({ ...rest, mode })
}
