import { parentPort, workerData } from 'node:worker_threads'
import type { FromCompanion, ToCompanion } from './companion-talk.ts'

/** A thread that talks as a companion and then does what the test asks for. */
const { act } = workerData as { readonly act: string }
const say = (message: FromCompanion) => parentPort?.postMessage(message)
const never = setInterval(() => {}, 60_000)

parentPort?.on('message', (word: ToCompanion) => {
  if (word === 'ask' && act !== 'falls silent') return say({ says: 'alive' })
  if (word !== 'stop' || act === 'does not stop') return
  clearInterval(never)
  parentPort?.close()
})

if (act === 'cannot be configured')
  say({ says: 'failed', why: { name: 'ConfigurationError', message: '', problems: [{ name: 'ISSUER_URL', rule: 'is another one' }] } })
else if (act === 'cannot start') say({ says: 'failed', why: { name: 'TypeError', message: 'no such table' } })
else if (act === 'dies at once') throw new RangeError('broken before it ran')
else say({ says: 'started', roles: [{ name: 'sts', metrics: null }], sts: 'http://127.0.0.1:1' })

if (act === 'dies') setTimeout(() => Promise.reject(new RangeError('broken')), 50)
if (act === 'leaves') setTimeout(() => process.exit(3), 50)
