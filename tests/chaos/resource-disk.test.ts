import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectNothingLost } from './ledger.ts'
import { type Load, startLoad } from './load.ts'
import { type Stage, startStage } from './stage.ts'
import { metricOf, untilReady } from './standing.ts'

/** Roles whose effects wait for their evidence on a volume. */
const ROLES = ['sts', 'gateway'] as const
const VOLUME_MB = 24
/** Segments so small that none is made beforehand: its place would have to be used up first. */
const SMALL = { SPOOL_MAX_BYTES: String(4 * 1024 * 1024) }

let stage: Stage
let load: Load
const volumes = mkdtempSync(join(tmpdir(), 'caracal-volumes-'))
const volume = (role: string) => join(volumes, role)

/** A volume of its own for each role: small, and real enough that the kernel says no. */
function mountVolume(role: string): void {
  mkdirSync(volume(role))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${VOLUME_MB}m`, 'caracal-chaos', volume(role)], { stdio: 'pipe' })
  } catch (error) {
    throw new Error('this test needs to mount a small tmpfs: run it as root, in a container with CAP_SYS_ADMIN', { cause: error })
  }
}

beforeAll(async () => {
  for (const role of ROLES) mountVolume(role)
  stage = await startStage()
  for (const role of ROLES) {
    await stage.services.service(role).end('SIGTERM')
    await stage.services.service(role).start({ SPOOL_DIR: join(volume(role), 'spool'), ...SMALL })
  }
  load = startLoad(stage, { clients: 2, pause: 25, administration: false })
  await load.firstGoodCall(performance.now())
}, 180_000)
afterAll(async () => {
  await stage?.stop()
  for (const role of ROLES) execFileSync('umount', ['-l', volume(role)], { stdio: 'pipe' })
  rmSync(volumes, { recursive: true, force: true })
})

/** Takes all that is left of the volume, to the last byte; gives it back when called. */
function fill(role: string): () => void {
  const file = join(volume(role), 'somebody-else')
  const { bavail, bsize } = statfsSync(volume(role))
  try {
    writeFileSync(file, Buffer.alloc(bavail * bsize))
    writeFileSync(`${file}-more`, Buffer.alloc(1024 * 1024))
  } catch {
    // It is full now.
  }
  return () => {
    for (const one of [file, `${file}-more`]) rmSync(one, { force: true })
  }
}

const refusedWhat = { sts: 'mint evidence_unavailable', gateway: 'call evidence_unavailable' } as const

describe('[P-174] [P-140] a volume that takes no evidence', () => {
  test.each(ROLES)(
    'a full disk under the spool of the %s: refused as `evidence_unavailable`, no effect, /ready says so; then it goes on without a restart',
    async (role) => {
      const service = stage.services.service(role)
      await load.firstGoodCall(performance.now())
      const undo = keepFull(role)
      await untilReady(service, 'evidence_unavailable')
      const since = performance.now()
      const effects = stage.upstream.seen.length
      await expect.poll(() => Object.keys(load.tally(since))).toContain(refusedWhat[role])
      expect(await metricOf(service, 'caracal_evidence_writable')).toBe(0)
      // Nothing else is refused in its place, and what it refused had no effect.
      if (role === 'gateway') expect(stage.upstream.seen.length - effects).toBeLessThanOrEqual(4)
      const refused = Object.keys(load.tally(since)).filter((outcome) => !outcome.endsWith(' 200'))
      expect(refused).toEqual([refusedWhat[role]])

      undo()
      await untilReady(service)
      await load.firstGoodCall(performance.now())
    },
  )

  test('after all of it: every effect has its evidence, once', async () => {
    await load.stop()
    const { effects } = await expectNothingLost(stage, load)
    expect(effects).toBeGreaterThan(10)
  })
})

/** Whatever becomes free is taken at once, until told otherwise. */
function keepFull(role: string): () => void {
  let empty = fill(role)
  const timer = setInterval(() => {
    const { bavail } = statfsSync(volume(role))
    if (bavail === 0) return
    empty()
    empty = fill(role)
  }, 200)
  return () => {
    clearInterval(timer)
    empty()
  }
}
