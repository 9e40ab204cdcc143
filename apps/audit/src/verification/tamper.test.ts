import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ZoneId } from '@caracal/core'
import { freshDatabaseUrl } from '@caracal/harness'
import { leafHash, parseVerifierKey, type TrustedKey, verifyBundle } from '@caracal/ledger'
import { findLogHead, latestCheckpoint, openBlock } from '@caracal/postgres'
import pg from 'pg'
import { afterEach, describe, expect, onTestFinished, test } from 'vitest'
import { event, openWorld, until, type World } from '../test-support/world.ts'

const SIZE = 600

type Statement = string | [string, unknown[]] | ((client: pg.Client) => Promise<void>)

/** Somebody with all rights on the database: takes the triggers off, changes what he wants, puts them back. */
async function tamper(url: string, statements: readonly Statement[]): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const tables = ['log_blocks', 'log_checkpoints']
  for (const table of tables) await client.query(`ALTER TABLE ${table} DISABLE TRIGGER USER`)
  for (const statement of statements) {
    if (typeof statement === 'function') await statement(client)
    else await (typeof statement === 'string' ? client.query(statement) : client.query(...statement))
  }
  for (const table of tables) await client.query(`ALTER TABLE ${table} ENABLE TRIGGER USER`)
  await client.end()
}

/** He knows the format: changes the events of the log and writes every block anew, with its count and its marks. */
function rewriting(change: (texts: string[]) => string[]): Statement {
  return async (client) => {
    const { rows } = await client.query('SELECT zone, first_seq, count, codec, data, event_ids FROM log_blocks ORDER BY first_seq')
    const texts = rows.flatMap((row) => {
      const { raw } = openBlock({ ...row, first_seq: Number(row.first_seq) })
      return raw.toString().split('\0').slice(1)
    })
    const changed = change([...texts])
    for (const { zone, first_seq, count, event_ids } of rows) {
      const part = changed.slice(Number(first_seq), Number(first_seq) + count)
      const data = Buffer.from(part.map((text) => `\0${text}`).join(''))
      if (part.length === 0) await client.query('DELETE FROM log_blocks WHERE zone = $1 AND first_seq = $2', [zone, first_seq])
      else
        await client.query('UPDATE log_blocks SET codec = 0, data = $3, count = $4, event_ids = $5 WHERE zone = $1 AND first_seq = $2', [
          zone,
          first_seq,
          data,
          part.length,
          event_ids.subarray(0, 4 * part.length),
        ])
    }
  }
}

const forged = '{"id":"evt_forged"}'

/** What he does, and which word self-verification has for it. `exported`: what the offline verifier of an export says. */
const DEEDS: readonly {
  name: string
  statements: readonly Statement[]
  found: RegExp
  exported: readonly string[] | 'no export'
}[] = [
  {
    name: 'changes the text of an event',
    statements: [rewriting((texts) => texts.with(37, texts[37]?.replace('call.allowed', 'call.refused') ?? ''))],
    found: /entry 37 is not the one in the tree/,
    exported: ['wrong_root'],
  },
  {
    name: 'puts another event in the place of one',
    statements: [rewriting((texts) => texts.with(37, forged))],
    found: /entry 37 is not the one in the tree/,
    exported: ['unexpected_event', 'wrong_root'],
  },
  {
    name: 'puts another event in the place of one, and into the tile',
    statements: [
      rewriting((texts) => texts.with(37, forged)),
      [
        'UPDATE log_tiles SET hashes = overlay(hashes placing $1::bytea from $2) WHERE level = 0 AND tile = 0',
        [Buffer.from(leafHash(Buffer.from(forged))), 37 * 32 + 1],
      ],
    ],
    found: /hash 0 of tile 1\/0 is not what the tiles below it say/,
    exported: ['unexpected_event', 'wrong_root'],
  },
  {
    name: 'changes a byte of a block',
    statements: ['UPDATE log_blocks SET data = set_byte(data, length(data) / 2, get_byte(data, length(data) / 2) # 1) WHERE first_seq = 0'],
    found: /the block of entry 0 |is not the one in the tree/,
    exported: 'no export',
  },
  {
    name: 'removes an event',
    statements: [rewriting((texts) => texts.toSpliced(300, 1))],
    found: /entry 300 is not the one in the tree/,
    exported: 'no export',
  },
  {
    name: 'removes a block',
    statements: ['DELETE FROM log_blocks WHERE first_seq = 0'],
    found: /entry 0 is missing/,
    exported: 'no export',
  },
  {
    name: 'removes the tail',
    statements: [rewriting((texts) => texts.slice(0, 580))],
    found: /entry 580 is missing/,
    exported: 'no export',
  },
  {
    name: 'moves a block to another place',
    statements: ['UPDATE log_blocks SET first_seq = 5 WHERE first_seq = 0'],
    found: /entry 0 is missing/,
    exported: 'no export',
  },
  {
    name: 'hides events from searches',
    statements: ['UPDATE log_blocks SET terms = terms[2:] WHERE first_seq = 0'],
    found: /the block of entry 0 is not found by what its events say/,
    exported: 'no export',
  },
  {
    name: 'lets an event in again under its id',
    statements: ['UPDATE log_blocks SET event_ids = set_byte(event_ids, 4, get_byte(event_ids, 4) # 1) WHERE first_seq = 0'],
    found: /the block of entry 0 is not found by what its events say/,
    exported: 'no export',
  },
  {
    name: 'swaps two events',
    statements: [rewriting((texts) => texts.with(5, texts[6] ?? '').with(6, texts[5] ?? ''))],
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
    blocks: await here.database.query.selectFrom('log_blocks').selectAll().where('zone', '=', zone).orderBy('first_seq').execute(),
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
      expect(after.blocks).toEqual(before.blocks)
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

  test('[P-103] [P-139] an old backup that holds together in itself is found by the anchor outside the database, and nothing of it is signed', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'caracal-anchors-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const anchors = pathToFileURL(join(folder, 'anchors.jsonl')).href
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
      ['DELETE FROM log_blocks WHERE first_seq >= $1', [size]],
      ['DELETE FROM log_checkpoints WHERE size > $1', [size]],
      [
        'UPDATE log_heads SET size = $1, root = $2, frontier = $3',
        [size, Buffer.from(backup.head?.root ?? []), Buffer.from(backup.head?.frontier ?? [])],
      ],
    ])
    await here.startAudit()
    expect(problemsOf(here)).toMatch(/where a checkpoint was signed for/)
    await here.send(Array.from({ length: 50 }, () => event(zone)))
    await here.grown(zone, size + 50)
    // Who stops signs what waits, if it may be signed.
    await here.audit().stop()
    expect((await latestCheckpoint(here.database.query, zone))?.size ?? 0).toBeLessThanOrEqual(size)
    await tamper(url, ['DELETE FROM log_blocks', 'DELETE FROM log_checkpoints', 'DELETE FROM log_tiles', 'DELETE FROM log_heads'])
    here.logged.length = 0
    await here.startAudit()
    expect(problemsOf(here)).toMatch(/the head is gone/)
  }, 120_000)
})
