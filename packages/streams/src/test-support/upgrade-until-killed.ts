import { keyRing } from '@caracal/core'
import { evidencePayload, verifyEvidence } from '../evidence/evidence-payload.ts'
import { upgradeSegments } from '../spool/upgrade.ts'

/** Upgrades the spool of a directory (arguments: it, the producer, the key in hex) and writes a line for every segment that is done. */
const [dir = '', producer = '', key = ''] = process.argv.slice(2)
const keys = keyRing(Buffer.from(key, 'hex'))
const logger = { info: () => void process.stdout.write('done\n'), warn: () => {}, error: () => {} }
await upgradeSegments({
  dir,
  producer,
  logger,
  seal: (group) => evidencePayload(keys, group),
  open: (payload) => verifyEvidence(payload, keys),
})
