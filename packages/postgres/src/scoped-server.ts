import type { PostgresPool, PostgresPoolClient } from 'kysely'
import pg from 'pg'
import { databaseRole, ENTER_SCOPE, type ServiceRole } from './service-role.ts'
import { currentZone } from './zone-scope.ts'

/** What of a connection's protocol goes before a statement; `pg` names it, its types only in part. */
type Wire = {
  close(message: { readonly type: 'S'; readonly name: string }): void
  parse(message: { readonly name: string; readonly text: string }): void
  bind(message: { readonly portal: string; readonly statement: string; readonly values: readonly string[] }): void
  execute(message: { readonly portal: string; readonly rows: number }): void
}

/** The parts of `pg.Query` that its protocol calls, which its types leave out. */
type QueryHandlers = {
  prepare(connection: Wire): void
  handleDataRow(message: unknown): void
  handleCommandComplete(message: unknown, connection: unknown): void
}

const Base = pg.Query as unknown as new (
  config: { readonly text: string; readonly values: readonly unknown[]; readonly queryMode: 'extended' },
  callback: (error: Error | null | undefined, result: never) => void,
) => QueryHandlers & pg.Submittable

const NAME = 'caracal_scope'
/** Connections that know the statement by its name. */
const prepared = new WeakSet<Wire>()

/**
 * A statement that enters its scope first, in one message to the server and one transaction there: no further round trip, and when
 * the scope cannot be entered the statement does not run.
 */
class ScopedQuery extends Base {
  readonly #scope: readonly string[]
  #entered = false
  #wire: Wire | undefined

  constructor(text: string, values: readonly unknown[], scope: readonly string[], done: ConstructorParameters<typeof Base>[1]) {
    super({ text, values, queryMode: 'extended' }, done)
    this.#scope = scope
  }

  override prepare(connection: Wire): void {
    this.#wire = connection
    if (!prepared.has(connection)) {
      // One that was cut short may or may not have left it.
      connection.close({ type: 'S', name: NAME })
      connection.parse({ name: NAME, text: ENTER_SCOPE })
    }
    connection.bind({ portal: '', statement: NAME, values: this.#scope })
    connection.execute({ portal: '', rows: 0 })
    super.prepare(connection)
  }

  override handleDataRow(message: unknown): void {
    if (this.#entered) super.handleDataRow(message)
  }

  override handleCommandComplete(message: unknown, connection: unknown): void {
    if (this.#entered) super.handleCommandComplete(message, connection)
    else if (this.#wire !== undefined) prepared.add(this.#wire)
    this.#entered = true
  }
}

const BEGINS = /^(?:begin|start transaction)\b/
const ENDS = /^(?:commit|rollback)$/

/** The pool as a service has it: every statement runs under its role and in the zone that is current. */
export function scopedPool(connect: PostgresPool['connect'], service: ServiceRole): PostgresPool {
  const clients = new WeakMap<PostgresPoolClient, PostgresPoolClient>()
  return {
    async connect() {
      const client = await connect()
      const known = clients.get(client) ?? scopedClient(client as unknown as pg.PoolClient, databaseRole(service))
      clients.set(client, known)
      return known
    },
    end: async () => {}, // the connections are those of the database that this is a view of
    options: {},
  }
}

function scopedClient(client: pg.PoolClient, role: string): PostgresPoolClient {
  /** The zone that the open transaction is in; undefined until it has one. Null: there is no transaction. */
  let inTransaction: string | undefined | null = null

  const query = async (text: string, values: readonly unknown[]) => {
    if (BEGINS.test(text)) {
      inTransaction = undefined
      return await client.query(text)
    }
    if (ENDS.test(text)) {
      inTransaction = null
      return await client.query(text)
    }
    const zone = currentZone() ?? ''
    if (inTransaction === zone) return await client.query(text, [...values])
    const result = await new Promise<unknown>((resolve, reject) => {
      const done = (error: Error | null | undefined, found: unknown) => (error ? reject(error) : resolve(found))
      client.query(new ScopedQuery(text, values, [role, zone], done))
    })
    if (inTransaction !== null) inTransaction = zone
    return result
  }
  return { query, release: (destroy?: boolean) => client.release(destroy) } as PostgresPoolClient
}
