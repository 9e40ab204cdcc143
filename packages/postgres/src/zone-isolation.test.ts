import { freshDatabaseUrl } from '@caracal/harness'
import { sql } from 'kysely'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { managedDatabaseUrl } from './both-databases.ts'
import type { Database } from './database.ts'
import { migrateUp } from './migrate-up.ts'
import { migrateUpTo } from './migrate-up-to.ts'
import { openDatabase } from './open-database.ts'
import { type SampleInstallation, sampleInstallation } from './sample-installation.ts'
import { NOW, sampleApplication } from './sample-zone.ts'
import { databaseRole, SERVICE_ROLES, type ServiceRole } from './service-role.ts'
import { currentZone, inZone } from './zone-scope.ts'
import { createZone, lockInZone } from './zones.ts'

/** Who reads what of every zone without naming one: everybody else and everything else is within one zone. */
const EVERY_ZONE: Readonly<Record<ServiceRole, readonly string[]>> = {
  api: ['admin_tokens', 'zones'],
  sts: [
    'application_credentials',
    'application_keys',
    'applications',
    'budgets',
    'policy_heads',
    'policy_replicas',
    'policy_set_versions',
    'policy_versions',
    'providers',
    'resources',
    'revocations',
    'zone_keys',
    'zones',
  ],
  audit: ['admin_tokens', 'log_heads', 'policy_heads', 'zones'],
  coordinator: [
    'admin_tokens',
    'application_credentials',
    'application_keys',
    'applications',
    'budgets',
    'policy_heads',
    'policy_replicas',
    'policy_set_versions',
    'policy_versions',
    'providers',
    'resources',
    'revocations',
    'zone_keys',
    'zones',
  ],
}

describe.each(['embedded', 'managed server'] as const)('zones in the database (%s)', (kind) => {
  let database: Database
  let one: SampleInstallation
  let two: SampleInstallation

  beforeAll(async () => {
    database = await openDatabase(kind === 'embedded' ? { memory: true } : { url: await managedDatabaseUrl() })
    await migrateUp(database)
    one = await sampleInstallation(database.query)
    two = await sampleInstallation(database.query)
  })
  afterAll(() => database?.close())

  const zoneTables = async () => {
    const { rows } = await sql<{ name: string; column: string; enabled: boolean; forced: boolean }>`
      select relname as name, attname as column, relrowsecurity as enabled, relforcerowsecurity as forced
      from pg_class join pg_attribute on attrelid = pg_class.oid and not attisdropped
      where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p') and (attname = 'zone' or relname = 'zones' and attname = 'id')
      order by relname`.execute(database.query)
    return rows
  }
  const zonesIn = async (as: ServiceRole, { name, column }: { name: string; column: string }) => {
    const { rows } = await sql<{ zone: string | null }>`select distinct ${sql.ref(column)} as zone from ${sql.table(name)}`.execute(
      database.as(as).query,
    )
    return rows.map(({ zone }) => zone).sort()
  }
  const mayRead = async (as: ServiceRole, table: string) =>
    (await sql<{ may: boolean }>`select has_table_privilege(${databaseRole(as)}, ${table}, 'select') as may`.execute(database.query))
      .rows[0]?.may

  test('[P-132] row-level security is forced on every table with a zone, children included, and on zones themselves', async () => {
    const tables = await zoneTables()
    expect(tables.length).toBeGreaterThanOrEqual(21)
    expect(tables.filter(({ enabled, forced }) => !(enabled && forced))).toEqual([])
  })

  test('[P-132] policies compare with the zone of the transaction or name a role: no value of a setting opens every zone', async () => {
    const { rows } = await sql<{
      table: string
      policy: string
      roles: readonly string[]
      using: string
      check: string | null
      owner: string
    }>`
      select tablename as table, policyname as policy, roles::text[] as roles, qual as using, with_check as check, current_user as owner
      from pg_policies where schemaname = current_schema() order by 1, 2`.execute(database.query)
    const services = SERVICE_ROLES.map(databaseRole)
    const everywhere = new Map<string, string[]>(services.map((role) => [role, []]))
    for (const { table, policy, roles, using, check, owner } of rows) {
      if (policy === 'owner') expect(roles).toEqual([owner])
      else if (policy === 'in_zone') {
        const column = table === 'zones' ? 'id' : 'zone'
        expect(using).toBe(`(${column} = current_setting('caracal.zone'::text, true))`)
        expect(check).toBe(using)
        expect([...roles].sort()).toEqual([...services].sort())
      } else if (using === 'true') for (const role of roles) everywhere.get(role)?.push(table)
      else
        expect([table, using]).toBeOneOf([
          ['admin_tokens', '(zone IS NULL)'],
          ['revocations', "(kind = 'zone'::text)"],
        ])
    }
    for (const service of SERVICE_ROLES) expect(everywhere.get(databaseRole(service))).toEqual(EVERY_ZONE[service])
    const tables = await zoneTables()
    for (const policy of ['owner', 'in_zone'])
      expect(rows.filter((row) => row.policy === policy).map(({ table }) => table)).toEqual(tables.map(({ name }) => name))
  })

  test('[P-132] roles of services log in by themselves nowhere, own nothing, pass by no policy; nothing is granted to everybody', async () => {
    const { rows: roles } = await sql`select rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolinherit from pg_roles
      where rolname = any (${SERVICE_ROLES.map(databaseRole)}) order by 1`.execute(database.query)
    expect(roles).toEqual(
      SERVICE_ROLES.map(databaseRole)
        .sort()
        .map((rolname) => ({
          rolname,
          rolcanlogin: false,
          rolsuper: false,
          rolbypassrls: false,
          rolcreaterole: false,
          rolinherit: false,
        })),
    )
    const { rows: open } = await sql`select relname from pg_class cross join lateral aclexplode(relacl) as acl
      where relnamespace = current_schema()::regnamespace and grantee = 0`.execute(database.query)
    expect(open).toEqual([])
    for (const service of SERVICE_ROLES) {
      const { rows } = await sql`select current_user as me`.execute(database.as(service).query)
      expect(rows).toEqual([{ me: databaseRole(service) }])
    }
  })

  test.each(SERVICE_ROLES)(
    '[P-132] %s sees no row without a zone, those of the zone it names with one, and no value means all',
    async (as) => {
      for (const table of await zoneTables()) {
        if (!(await mayRead(as, table.name))) {
          await expect(zonesIn(as, table)).rejects.toMatchObject({ code: '42501' })
          continue
        }
        const everywhere = EVERY_ZONE[as].includes(table.name)
        const all = [one.zone.id, two.zone.id].sort()
        expect([table.name, await zonesIn(as, table)]).toEqual([table.name, everywhere ? all : []])
        for (const value of ['*', '%', 'all', '', 'null'])
          expect([table.name, await inZone(value as typeof one.zone.id, () => zonesIn(as, table))]).toEqual([
            table.name,
            everywhere ? all : [],
          ])
        for (const { zone } of [one, two])
          expect([table.name, await inZone(zone.id, () => zonesIn(as, table))]).toEqual([table.name, everywhere ? all : [zone.id]])
      }
    },
  )

  test('[P-132] a statement that names another zone than its transaction changes nothing there', async () => {
    const { query } = database.as('api')
    const foreign = { id: two.application.id, zone: two.zone.id }
    await inZone(one.zone.id, async () => {
      await expect(sampleApplication(query, two.zone)).rejects.toMatchObject({ code: '42501' })
      await expect(createZone(query, { id: two.zone.id, name: 'another', labels: [] }, NOW)).rejects.toMatchObject({ code: '42501' })
      const renamed = await query.updateTable('applications').set({ name: 'taken over' }).where('id', '=', foreign.id).executeTakeFirst()
      expect(renamed.numUpdatedRows).toBe(0n)
      const moved = query.updateTable('applications').set({ zone: two.zone.id }).where('id', '=', one.other.id).execute()
      await expect(moved).rejects.toMatchObject({ code: '42501' })
      const gone = await query.deleteFrom('application_credentials').where('id', '=', two.credential).executeTakeFirst()
      expect(gone.numDeletedRows).toBe(0n)
      // The functions that look into arrays for a service keep to the zone as well.
      const ids = (name: string, root: string) =>
        sql<{ ids: string[] }>`select ${sql.raw(name)}(${two.zone.id}, array[${root}]) as ids`
          .execute(query)
          .then(({ rows }) => rows[0]?.ids)
      expect(await ids('caracal_sessions_under', two.root.id)).toEqual([])
      expect(await ids('caracal_delegations_under', two.delegation.id)).toEqual([])
      expect(await ids('caracal_delegations_from', two.root.id)).toEqual([])
      const { rows: terms } = await sql<{ t: string }>`select terms::text as t from log_blocks limit 1`.execute(query)
      const blocks = sql`select zone from caracal_blocks_of_zone(${two.zone.id}, array[${terms[0]?.t ?? '{}'}])`.execute(query)
      expect((await blocks).rows).toEqual([])
    })
    expect(
      await inZone(two.zone.id, () =>
        database.as('api').query.selectFrom('applications').select('name').where('id', '=', foreign.id).execute(),
      ),
    ).toEqual([{ name: two.application.name }])
  })

  test('[P-132] the zone goes with the caller: through transactions, several in one, many at once, and never to the next user of a connection', async () => {
    const api = database.as('api')
    const seen = async (db = api.query) => (await db.selectFrom('applications').select('zone').distinct().execute()).map(({ zone }) => zone)
    await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        const mine = i % 3 === 0 ? one.zone.id : i % 3 === 1 ? two.zone.id : undefined
        const look = async () => {
          expect(await seen()).toEqual(mine === undefined ? [] : [mine])
          await api.transaction(async (tx) => {
            await lockInZone(tx, one.zone.id, `look ${i}`)
            expect(await seen(tx)).toEqual(mine === undefined ? [] : [mine])
            for (const { zone } of [two, one]) expect(await inZone(zone.id, () => seen(tx))).toEqual([zone.id])
            expect(await seen(tx)).toEqual(mine === undefined ? [] : [mine])
          })
        }
        await (mine === undefined ? look() : inZone(mine, look))
      }),
    )
    const fail = () => sql`select 1/0`.execute(api.query)
    await expect(inZone(one.zone.id, fail)).rejects.toThrow(/division/)
    expect(await seen()).toEqual([])
    expect(currentZone()).toBeUndefined()
    // Whoever owns the tables is not a service and acts as none.
    const { rows } = await sql`select current_setting('role') as role, coalesce(current_setting('caracal.zone', true), '') as zone`.execute(
      database.query,
    )
    expect(rows).toEqual([{ role: 'none', zone: '' }])
  })

  test('[P-132] naming role and zone costs no statement of its own', async () => {
    const api = database.as('api')
    const before = database.statements()
    await inZone(one.zone.id, () => api.query.selectFrom('applications').select('id').execute())
    expect(database.statements() - before).toBe(1)
  })
})

describe('roles on a server', () => {
  test('[P-132] a login that is no member of a role of a service serves nothing', async () => {
    const url = new URL(await freshDatabaseUrl())
    const owner = await openDatabase({ url: url.href })
    await migrateUp(owner)
    const stranger = `stranger_${url.pathname.slice(-12)}`
    await sql`create role ${sql.id(stranger)} login`.execute(owner.query)
    url.username = stranger
    const database = await openDatabase({ url: url.href })
    await expect(database.as('api').ping()).rejects.toMatchObject({ code: '42501' })
    await expect(database.as('api').transaction((tx) => lockInZone(tx, 'zon_1', 'x'))).rejects.toMatchObject({ code: '42501' })
    await sql`grant caracal_api to ${sql.id(stranger)}`.execute(owner.query)
    await database.as('api').ping()
    await expect(database.as('sts').ping()).rejects.toMatchObject({ code: '42501' })
    await database.close()
    await sql`revoke caracal_api from ${sql.id(stranger)}`.execute(owner.query)
    await owner.close()
  })

  test('[P-132] an owner that may create no roles migrates where they are there, and serves once it is a member', async () => {
    const server = new URL(await freshDatabaseUrl())
    const admin = new pg.Client({ connectionString: server.href })
    await admin.connect()
    const owner = `plain_${server.pathname.slice(-12)}`
    await admin.query(`CREATE ROLE ${owner} LOGIN`)
    await admin.query(`ALTER DATABASE ${server.pathname.slice(1)} OWNER TO ${owner}`)
    server.username = owner
    const database = await openDatabase({ url: server.href })
    // The roles are there already: another database of this server has made them. The owner may use the schema, and serve once it is a member.
    const other = await openDatabase({ url: await freshDatabaseUrl() })
    await migrateUp(other)
    await other.close()
    await migrateUp(database)
    await expect(database.as('api').ping()).rejects.toMatchObject({ code: '42501' })
    for (const role of SERVICE_ROLES.map(databaseRole)) await admin.query(`GRANT ${role} TO ${owner}`)
    for (const service of SERVICE_ROLES) await database.as(service).ping()
    await admin.end()
    await database.close()
  })

  test('[P-132] [P-135] what stood in the database before there were roles is seen after, zone by zone', async () => {
    const database = await openDatabase({ url: await managedDatabaseUrl() })
    await migrateUpTo(database, 8)
    const zone = await createZone(database.query, { id: 'zon_01jgj7v5b1f2m8z3q4r5s6t7v8', name: 'before', labels: [] }, NOW)
    if (!zone.ok) throw new Error('not made')
    const application = await sampleApplication(database.query, zone.value)
    await migrateUp(database)
    const found = (service: ServiceRole) => database.as(service).query.selectFrom('applications').select('id').execute()
    expect(await found('api')).toEqual([])
    expect(await inZone(zone.value.id, () => found('api'))).toEqual([{ id: application.id }])
    expect(await found('sts')).toEqual([{ id: application.id }])
    // A release that knows no roles yet goes on as the owner.
    expect(await database.query.selectFrom('applications').select('id').execute()).toEqual([{ id: application.id }])
    await database.close()
  })
})
