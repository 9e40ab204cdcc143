import { EVIDENCE_MODES, type EvidenceMode } from '@caracal/streams'
import type { ConfigurationProblem, Mode } from './define-configuration.ts'
import { setting } from './kinds.ts'

/**
 * What every role takes that decides and records; spread it into the role's own. `full`: what happens with no room for evidence; `stale`:
 * what happens without fresh revocations.
 */
export function evidenceSettings({ full, stale }: { readonly full: string; readonly stale: string }) {
  return {
    SPOOL_DIR: setting.string({ meaning: 'Directory of the evidence spool.', default: './spool' }),
    SPOOL_MAX_BYTES: setting.integer({
      meaning: `Bytes of evidence that may wait for the ledger; at that many ${full}.`,
      min: 65_536,
      default: 1024 * 1024 * 1024,
    }),
    EVIDENCE: setting.oneOf(EVIDENCE_MODES, {
      meaning:
        'What an effect waits for: fsync in the spool, the commit in Postgres (with STREAMS_DRIVER=postgres only; no spool is needed), or nothing (dev only).',
      default: 'write-ahead',
    }),
    REVOCATION_MAX_AGE: setting.duration({
      meaning: `Older proof of freshness than this and ${stale}.`,
      min: 2_000,
      max: 60_000,
      default: 5_000,
    }),
  }
}

/** Where evidence may not be kept in the way that is asked for. */
export function evidenceProblems(values: {
  readonly CARACAL_MODE: Mode
  readonly EVIDENCE: EvidenceMode
  readonly STREAMS_DRIVER: string
}): ConfigurationProblem[] {
  const problems: ConfigurationProblem[] = []
  if (values.CARACAL_MODE !== 'dev' && values.EVIDENCE === 'async') problems.push({ name: 'EVIDENCE', rule: 'may be async in dev only' })
  if (values.EVIDENCE === 'write-through' && values.STREAMS_DRIVER !== 'postgres')
    problems.push({ name: 'EVIDENCE', rule: 'may be write-through with STREAMS_DRIVER=postgres only' })
  return problems
}
