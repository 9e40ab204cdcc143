import { readFileSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'
import { trustAuthorities } from '@caracal/service'
import { type FromCompanion, type ToCompanion, tell } from './companion-talk.ts'
import { type RolesBeside, startRolesBeside } from './roles-beside.ts'

/**
 * The thread of the roles on loopback: their work, and the ledger's above all, never holds up a call. It has connections, streams and
 * a heap of its own; signals, probes and the one scrape are the first thread's.
 */
if (parentPort === null) throw new Error('this is a thread of caracal serve --with')
const port = parentPort
const say = (message: FromCompanion) => port.postMessage(message)
const given = workerData as RolesBeside
/** How long the thread may take to end once everything is closed. Milliseconds. */
const LINGER_MS = 500

enableCompileCache()
if (given.environment.CA_BUNDLE_FILE) trustAuthorities(readFileSync(given.environment.CA_BUNDLE_FILE, 'utf8'))
const starting = startRolesBeside(given)

port.on('message', (word: ToCompanion) => {
  if (word === 'ask') say({ says: 'alive' })
  else void stop()
})

starting.then(
  ({ roles, sts }) => say({ says: 'started', roles, sts }),
  (error: unknown) => {
    say({ says: 'failed', why: tell(error) })
    // Ends the thread once that is said.
    port.close()
  },
)

async function stop(): Promise<void> {
  const running = await starting.catch(() => undefined)
  await running?.close()
  // By itself, so that its last lines are written; something that is still open does not hold it.
  port.close()
  setTimeout(() => process.exit(0), LINGER_MS).unref()
}
