import { address } from './address.ts'
import { evidenceBundle } from './bundle.ts'
import { checkpoint, verifierKey } from './checkpoint.ts'
import { condition } from './condition.ts'
import { evidence, revocation } from './evidence.ts'
import { form } from './form.ts'
import { jsonBody } from './json-body.ts'
import { mandate } from './mandate.ts'
import { policy } from './policy.ts'
import { requestTarget } from './request-target.ts'
import { spool } from './spool.ts'
import { entryBundle, tilePath } from './tile.ts'

/** Every parser that reads what somebody else wrote. */
export const TARGETS = [
  form,
  jsonBody,
  mandate,
  requestTarget,
  policy,
  condition,
  checkpoint,
  verifierKey,
  evidenceBundle,
  evidence,
  revocation,
  spool,
  tilePath,
  entryBundle,
  address,
]
