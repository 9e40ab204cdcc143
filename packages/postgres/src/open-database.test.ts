import { setTimeout as sleep } from 'node:timers/promises'
import { freshDatabaseUrl } from '@caracal/harness'
import fc from 'fast-check'
import { sql } from 'kysely'
import { describe, expect, test, vi } from 'vitest'
import { describeOnBoth } from './both-databases.ts'
import { timestamp } from './column.ts'
import { isDatabaseOutage, isUniqueViolation } from './database-error.ts'
import { openDatabase } from './open-database.ts'
import { NOW } from './sample-zone.ts'
import { pinSetting, readSetting, writeSetting } from './settings.ts'

describeOnBoth('database', (database) => {
  const scalar = async (query: ReturnType<typeof sql<{ v: unknown }>>) => (await query.execute(database().query)).rows[0]?.v

  test.each([
    ['bigint', sql<{ v: unknown }>`select 9007199254740991::bigint as v`, Number.MAX_SAFE_INTEGER],
    ['least bigint', sql<{ v: unknown }>`select (-9007199254740991)::bigint as v`, Number.MIN_SAFE_INTEGER],
    [
      'numeric',
      sql<{ v: unknown }>`select 123456789012345678901234567890.123456789::numeric as v`,
      '123456789012345678901234567890.123456789',
    ],
    ['microseconds', sql<{ v: unknown }>`select '1970-01-01T00:00:00.000001Z'::timestamptz as v`, 0.001],
    ['before 1970', sql<{ v: unknown }>`select '1969-12-31T23:59:59.999999Z'::timestamptz as v`, expect.closeTo(-0.001, 9)],
    ['year 1', sql<{ v: unknown }>`select '0001-01-01T00:00:00Z'::timestamptz as v`, Date.parse('0001-01-01T00:00:00Z')],
    ['far future', sql<{ v: unknown }>`select '275760-09-13T00:00:00Z'::timestamptz as v`, 8.64e15],
    ['text array', sql<{ v: unknown }>`select array['a','b "\\c,{}']::text[] as v`, ['a', 'b "\\c,{}']],
    ['bytes', sql<{ v: unknown }>`select '\\x00ff10'::bytea as v`, expect.objectContaining({ 0: 0, 1: 255, 2: 16, length: 3 })],
    ['jsonb', sql<{ v: unknown }>`select '{"a":[1,null,"x"]}'::jsonb as v`, { a: [1, null, 'x'] }],
    ['date', sql<{ v: unknown }>`select '2026-01-02'::date as v`, '2026-01-02'],
  ])('[P-137] reads %s exactly', async (_, query, expected) => {
    expect(await scalar(query)).toEqual(expected)
  })

  test.each([
    ['bigint beyond what a number holds', sql<{ v: unknown }>`select 9007199254740993::bigint as v`],
    ['infinity', sql<{ v: unknown }>`select 'infinity'::timestamptz as v`],
    ['-infinity', sql<{ v: unknown }>`select '-infinity'::timestamptz as v`],
    ['years before Christ', sql<{ v: unknown }>`select '0044-03-15 BC'::timestamptz as v`],
    ['a timestamp without time zone', sql<{ v: unknown }>`select now()::timestamp as v`],
  ])('[P-137] refuses to read %s', async (_, query) => {
    await expect(scalar(query)).rejects.toThrow(/beyond what a number|moment/)
    expect(await scalar(sql<{ v: unknown }>`select 1 as v`)).toBe(1)
  })

  test('[P-137] every moment comes back as it was written, in any session time zone', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: Date.parse('0002-01-01T00:00:00Z'), max: 8.63e15 }),
        fc.constantFrom('UTC', 'Asia/Kathmandu', 'America/St_Johns'),
        async (ms, zone) => {
          const found = await database().transaction(async (tx) => {
            await sql`select set_config('timezone', ${zone}, true)`.execute(tx)
            return (await sql<{ v: number }>`select ${timestamp(ms)} as v`.execute(tx)).rows[0]?.v
          })
          expect(found).toBe(ms)
        },
      ),
      { numRuns: 60 },
    )
    const micros = await sql<{ v: number }>`select ${timestamp(NOW + 0.123)} as v`.execute(database().query)
    expect(Math.round(((micros.rows[0]?.v ?? 0) - NOW) * 1000)).toBe(123)
    expect(() => timestamp(Number.POSITIVE_INFINITY)).toThrow(/moment/)
    expect(() => timestamp(Number.NaN)).toThrow(/moment/)
  })

  test('JSON of any kind comes back as it was written', async () => {
    for (const value of [null, 'text', '"quoted"', [1, [2]], { a: { b: [] } }, 1.5, true, []]) {
      await writeSetting(database().query, 'json', value, 0)
      expect(await readSetting(database().query, 'json')).toEqual(value)
    }
  })

  test('a fact is pinned once, by whoever comes first', async () => {
    const pinned = await Promise.all(['a', 'b', 'c'].map((v) => pinSetting(database().query, 'issuer', v, 0)))
    expect(new Set(pinned).size).toBe(1)
    expect(await readSetting(database().query, 'issuer')).toBe(pinned[0])
  })

  test('statements are counted', async () => {
    const before = database().statements()
    await sql`select 1`.execute(database().query)
    await expect(sql`select 1/0`.execute(database().query)).rejects.toThrow()
    expect(database().statements() - before).toBe(2)
  })

  test('a transaction is all or nothing, and one that saw an error cannot pretend to commit', async () => {
    const insert = (name: string) => sql`insert into settings values (${name}, '1', now())`
    await expect(
      database().transaction(async (tx) => {
        await insert('rolled-back').execute(tx)
        throw new Error('on purpose')
      }),
    ).rejects.toThrow('on purpose')
    await expect(
      database().transaction(async (tx) => {
        await insert('aborted').execute(tx)
        await insert('aborted')
          .execute(tx)
          .catch((error) => expect(isUniqueViolation(error, 'settings_pkey')).toBe(true))
      }),
    ).rejects.toThrow()
    expect(await readSetting(database().query, 'rolled-back')).toBeUndefined()
    expect(await readSetting(database().query, 'aborted')).toBeUndefined()
  })

  test('concurrent transactions and statements of many callers do not see into each other', async () => {
    await writeSetting(database().query, 'counter', 0, 0)
    const add = () =>
      database().transaction(async (tx) => {
        const { rows } = await sql<{ value: number }>`select value from settings where name = 'counter' for update`.execute(tx)
        await sleep(1)
        await writeSetting(tx, 'counter', (rows[0]?.value ?? 0) + 1, 0)
        await sleep(1)
        if (rows[0]?.value === 7) throw new Error('undo')
      })
    const reads: unknown[] = []
    const work = Array.from({ length: 20 }, async (_, i) => {
      await (i % 2 === 0 ? add().catch(() => {}) : readSetting(database().query, 'counter').then((v) => reads.push(v)))
    })
    await Promise.all(work)
    expect(await readSetting(database().query, 'counter')).toBe(7)
    expect(reads.every((value) => typeof value === 'number' && value <= 7)).toBe(true)
  })

  test('a statement outside the transaction from within it throws instead of hanging', async () => {
    await expect(database().transaction(() => readSetting(database().query, 'x'))).rejects.toThrow(/goes through the transaction/)
    await expect(database().transaction(() => database().transaction(async () => {}))).rejects.toThrow(/goes through the transaction/)
    expect(await readSetting(database().query, 'x')).toBeUndefined()
  })

  test('notifications arrive when the transaction commits, and stop when asked', async () => {
    const heard: string[] = []
    const stop = await database().listen(
      'caracal_test',
      (payload) => heard.push(payload),
      () => {},
    )
    const stopOther = await database().listen(
      'caracal_test',
      (payload) => heard.push(`also ${payload}`),
      () => {},
    )
    await database().transaction(async (tx) => {
      await sql`select pg_notify('caracal_test', 'one')`.execute(tx)
      await sleep(20)
      expect(heard).toEqual([])
    })
    await vi.waitFor(() => expect(heard.sort()).toEqual(['also one', 'one']))
    await stopOther()
    await sql`select pg_notify('caracal_test', 'two')`.execute(database().query)
    await vi.waitFor(() => expect(heard).toContain('two'))
    await stop()
    await sql`select pg_notify('caracal_test', 'three')`.execute(database().query)
    await sleep(50)
    expect(heard).toEqual(['also one', 'one', 'two'])
  })

  test('ping answers and the pool says what it has', async () => {
    await database().ping()
    expect(database().pool().max).toBeGreaterThan(0)
    await database().transaction(async () => expect(database().pool().inUse).toBe(1))
    expect(database().pool()).toMatchObject({ inUse: 0, waiting: 0 })
  })
})

describe('a server', () => {
  test('[P-134] every session has the limits', async () => {
    const database = await openDatabase({ url: await freshDatabaseUrl(), application: 'caracal-test' })
    const show = async (name: string) => (await sql<{ v: string }>`select current_setting(${name}) as v`.execute(database.query)).rows[0]?.v
    expect(await show('statement_timeout')).toBe('15s')
    expect(await show('lock_timeout')).toBe('5s')
    expect(await show('idle_in_transaction_session_timeout')).toBe('30s')
    expect(await show('application_name')).toBe('caracal-test')
    await database.close()
  })

  test('[P-137] killed backends are replaced: idle, in use, and the one that listens, which says so', async () => {
    const url = await freshDatabaseUrl()
    const database = await openDatabase({ url })
    const killer = await openDatabase({ url })
    const heard: string[] = []
    const reconnected = vi.fn()
    await database.listen('caracal_test', (payload) => heard.push(payload), reconnected)
    await sql`select 1`.execute(database.query)
    const killAll = sql`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`
    const error = await database
      .transaction(async (tx) => {
        await sql`select 1`.execute(tx)
        await killAll.execute(killer.query)
        await sleep(50)
        await sql`select 1`.execute(tx)
      })
      .catch((thrown: unknown) => thrown)
    expect(isDatabaseOutage(error)).toBe(true)
    await vi.waitFor(() => expect(reconnected).toHaveBeenCalled(), { timeout: 5000 })
    await sql`select pg_notify('caracal_test', 'after')`.execute(database.query)
    await vi.waitFor(() => expect(heard).toEqual(['after']))
    await killAll.execute(killer.query)
    await sleep(50)
    await database.ping()
    await database.close()
    await killer.close()
  })

  test('one that is away fails ping and is recognised as an outage; its password is not in the error', async () => {
    const database = await openDatabase({ url: 'postgres://someone:s3cret-word@127.0.0.1:1/none' })
    const error = await database.ping().catch((thrown: unknown) => thrown)
    expect(isDatabaseOutage(error)).toBe(true)
    expect(String(error)).not.toContain('s3cret-word')
    await expect(
      database.listen(
        'x',
        () => {},
        () => {},
      ),
    ).rejects.toThrow()
    await database.close()
  })

  test.each([
    'postgres://u:p@h/d?sslmode=no-verify',
    'postgres://u:p@h/d?sslmode=allow',
    'postgres://u:p@h/d?uselibpqcompat=true&sslmode=require',
    'postgres://u:p@h/d?ssl=true',
    'mysql://u:p@h/d',
    'not a url p@ss',
  ])('refuses %s without repeating it', async (url) => {
    const error = await openDatabase({ url }).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(TypeError)
    expect(String(error)).not.toContain('u:p@h')
    expect(String(error)).not.toContain('p@ss')
  })

  test('a TLS mode is honoured: a server without TLS is not spoken to in the clear', async () => {
    for (const mode of ['prefer', 'require', 'verify-ca', 'verify-full']) {
      const database = await openDatabase({ url: `${await freshDatabaseUrl()}?sslmode=${mode}` })
      await expect(database.ping()).rejects.toThrow(/SSL/)
      await database.close()
    }
  })
})
