import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ZoneId } from '@caracal/core'
import { freshDatabaseUrl } from '@caracal/harness'
import { leafHash, parseVerifierKey, type TrustedKey, verifyBundle } from '@caracal/ledger'
import { findLogHead, latestCheckpoint, readEntries } from '@caracal/postgres'
import pg from 'pg'
import { afterEach, describe, expect, test } from 'vitest'
import { event, openWorld, until, type World } from '../test-support/world.ts'

const SIZE = 600

/** Somebody with all rights on the database: takes the triggers off, changes what he wants, puts them back. */
async function tamper(url: string, statements: readonly (string | [string, unknown[]])[]): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const tables = ['log_entries', 'log_checkpoints']
  for (const table of tables) await client.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`)
  for (const statement of statements) await (typeof statement === 'string' ? client.query(statement) : client.query(...statement))
  for (const table of tables) await client.query(`ALTER TABLE ${table} ENABLE TRIGGER USER`)
  await client.end()
}

const forged = '{"id":"evt_forged"}'

/** What he does, and which word self-verification has for it. `exported`: what the offline verifier of an export says. */
const DEEDS: readonly {
  name: string
  statements: readonly (string | [string, unknown[]])[]
  found: RegExp
  exported: readonly string[] | 'no export'
}[] = [
  {
    name: 'changes the text of an event',
    statements: ["UPDATE log_entries SET event = replace(event, 'call.allowed', 'call.refused') WHERE seq = 37"],
    found: /entry 37 was changed/,
    exported: ['wrong_root'],
  },
  {
    name: 'changes text and leaf hash of an event',
    statements: [['UPDATE log_entries SET event = $1, leaf = $2 WHERE seq = 37', [forged, Buffer.from(leafHash(Buffer.from(forged)))]]],
    found: /entry 37 is not the one in the tree/,
    exported: ['unexpected_event', 'wrong_root'],
  },
  {
    name: 'changes text, leaf hash and the tile',
    statements: [
      ['UPDATE log_entries SET event = $1, leaf = $2 WHERE seq = 37', [forged, Buffer.from(leafHash(Buffer.from(forged)))]],
      [
        'UPDATE log_tiles SET hashes = overlay(hashes placing $1::bytea from $2) WHERE level = 0 AND tile = 0',
        [Buffer.from(leafHash(Buffer.from(forged))), 37 * 32 + 1],
      ],
    ],
    found: /hash 0 of tile 1\/0 is not what the tiles below it say/,
    exported: ['unexpected_event', 'wrong_root'],
  },
  {
    name: 'removes an event',
    statements: ['DELETE FROM log_entries WHERE seq = 300'],
    found: /entry 300 is missing/,
    exported: 'no export',
  },
  {
    name: 'swaps two events',
    statements: [
      'UPDATE log_entries SET seq = 1000000 WHERE seq = 5',
      'UPDATE log_entries SET seq = 5 WHERE seq = 6',
      'UPDATE log_entries SET seq = 6 WHERE seq = 1000000',
    ],
    found: /entry 5 is not the one in the tree/,
    exported: ['wrong_root'],
  },
  {
    name: 'changes a hash high in the tree',
    statements: ["UPDATE log_tiles SET hashes = overlay(hashes placing '\\x00'::bytea from 1) WHERE level = 1"],
    found: /the head has another root than the stored tree|hash 0 of tile 1\/0/,
    exported: 'no export',
  },
  {
    name: 'drops a tile',
    statements: ['DELETE FROM log_tiles WHERE level = 0 AND tile = 1'],
    found: /tile 0\/1/,
    exported: 'no export',
  },
  {
    name: 'changes the root of the head',
    statements: ["UPDATE log_heads SET root = '\\x0000000000000000000000000000000000000000000000000000000000000000'"],
    found: /another root than/,
    exported: 'no export',
  },
  {
    name: 'makes the head shorter than the last checkpoint',
    statements: ['UPDATE log_heads SET size = 512, frontier = substring(frontier from 1 for 32), root = substring(frontier from 1 for 32)'],
    found: /the log has 512 entries where a checkpoint was signed for 60\d/,
    exported: 'no export',
  },
  {
    name: 'changes the last checkpoint',
    statements: ["UPDATE log_checkpoints SET note = replace(note, 'sts.example.com', 'sts.elsewhere.com')"],
    found: /the last checkpoint does not verify/,
    exported: 'no export',
  },
]

describe('somebody with all rights on the database', () => {
  let world: World | undefined
  afterEach(() => world?.close())

  async function grownWorld(environment: Readonly<Record<string, string>> = {}) {
    const url = await freshDatabaseUrl()
    const here = await openWorld('server', { url, environment })
    world = here
    const zone = (await here.zone()).id
    await here.send(Array.from({ length: SIZE }, () => event(zone)))
    await here.grown(zone, SIZE)
    const { vkeys } = (await (await here.get(`/v1/zones/${zone}/log/keys`)).json()) as { vkeys: string[] }
    const keys = vkeys.map(parseVerifierKey).flatMap((verifier): TrustedKey[] => (verifier === undefined ? [] : [{ verifier }]))
    await until(15_000, async () => ((await latestCheckpoint(here.database.query, zone))?.size ?? 0) >= SIZE, 'a checkpoint')
    return { here, url, zone, keys }
  }
  const problemsOf = (here: World) => here.logged.filter((line) => line.includes('the ledger does not hold')).join('\n')
  const state = async (here: World, zone: ZoneId) => ({
    head: await findLogHead(here.database.query, zone),
    entries: await readEntries(here.database.query, zone, 0, SIZE),
    checkpoint: await latestCheckpoint(here.database.query, zone),
  })

  test.each(DEEDS)(
    '[P-104] [P-109] who $name is found at the next start: alarm, no signature, nothing rewritten',
    async ({ statements, found, exported }) => {
      const { here, url, zone, keys } = await grownWorld()
      await here.audit().stop()
      await tamper(url, statements)
      const before = await state(here, zone)
      const again = await here.startAudit()
      // The pass over everything runs by itself, one tile a second; here it need not take its time.
      await until(15_000, () => found.test(problemsOf(here)), `a finding like ${found}; found ${problemsOf(here)}`)
      await expect
        .poll(async () => (await fetch(`${again.address.url}/health`)).json(), { timeout: 15_000 })
        .toMatchObject({ status: 'degraded', checks: { ledger: 'failing' } })
      expect((await fetch(`${again.address.url}/ready`)).status).toBe(200)
      const metrics = await (await fetch(`${again.metricsAddress?.url}/metrics`)).text()
      expect(metrics).toMatch(/caracal_ledger_verified 0/)
      // What had been signed before stays as it is, nothing new is.
      const after = await state(here, zone)
      expect(after.checkpoint).toEqual(before.checkpoint)
      expect(after.entries).toEqual(before.entries)
      if (exported !== 'no export') {
        const bundle = await here.post(`/v1/zones/${zone}/exports`, {})
        expect(bundle.status).toBe(200)
        const report = await verifyBundle(Buffer.from(await bundle.arrayBuffer()), { keys })
        expect(report.ok).toBe(false)
        expect([...new Set(report.findings.map(({ kind }) => kind))].sort()).toEqual(exported)
      }
    },
    40_000,
  )

  test('[P-103] an old backup that holds together in itself is found by the anchor outside the database', async () => {
    const anchors = pathToFileURL(join(mkdtempSync(join(tmpdir(), 'caracal-anchors-')), 'anchors.jsonl')).href
    const { here, url, zone } = await grownWorld({ AUDIT_ANCHORS: anchors })
    await here.audit().stop()
    const backup = await state(here, zone)
    await here.startAudit()
    await here.send(Array.from({ length: 200 }, () => event(zone)))
    await here.grown(zone, SIZE + 200)
    await until(15_000, async () => ((await latestCheckpoint(here.database.query, zone))?.size ?? 0) >= SIZE + 200, 'a checkpoint')
    await here.audit().stop()
    const size = backup.head?.size ?? 0
    await tamper(url, [
      ['DELETE FROM log_entries WHERE seq >= $1', [size]],
      ['DELETE FROM log_checkpoints WHERE size > $1', [size]],
      [
        'UPDATE log_heads SET size = $1, root = $2, frontier = $3',
        [size, Buffer.from(backup.head?.root ?? []), Buffer.from(backup.head?.frontier ?? [])],
      ],
    ])
    await here.startAudit()
    expect(problemsOf(here)).toMatch(/where a checkpoint was signed for/)
    await here.audit().stop()
    await tamper(url, ['DELETE FROM log_entries', 'DELETE FROM log_checkpoints', 'DELETE FROM log_tiles', 'DELETE FROM log_heads'])
    here.logged.length = 0
    await here.startAudit()
    expect(problemsOf(here)).toMatch(/the head is gone/)
  }, 40_000)
})
