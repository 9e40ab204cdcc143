import { type ApplicationId, type Budget, type BudgetId, type BudgetStanding, newId, type RequestId, type ZoneId } from '@caracal/core'
import { freshDatabaseUrl } from '@caracal/harness'
import {
  type BudgetFields,
  createApplication,
  createBudget,
  createZone,
  type Database,
  inZone,
  listUsage,
  migrateUp,
  openDatabase,
  toBudget,
  type Usage,
} from '@caracal/postgres'
import { afterAll, beforeAll, beforeEach } from 'vitest'
import { readStandings } from '../budget-standing.ts'
import { type ChargeDesk, openChargeDesk } from '../charge-desk.ts'
import type { ChargeAnswer, ReserveOrder } from '../charge-order.ts'

/** 2026-03-17 is a Tuesday. */
export const START = Date.UTC(2026, 2, 17, 10, 20, 30)

export const EXPIRATION_MS = 300_000

/** A database, and a clock that is turned by hand. */
export type BudgetWorld = {
  readonly database: Database
  readonly clock: { now: number }
  /** A zone with one application. */
  zone(): Promise<BudgetZone>
  close(): Promise<void>
}

export type BudgetZone = {
  readonly id: ZoneId
  readonly application: ApplicationId
  readonly desk: ChargeDesk
  /** Another desk on the same database, as another process has it. */
  anotherDesk(): ChargeDesk
  budget(fields: Partial<BudgetFields>): Promise<Budget>
  standing(budget: { readonly id: BudgetId }): Promise<BudgetStanding>
  usage(): Promise<readonly Usage[]>
  reserve(order?: Partial<ReserveOrder>): Promise<Reserved>
  settle(request: RequestId, actual?: string): Promise<string>
  release(request: RequestId): Promise<string>
}

/** What a reservation came to: `charged`, `unmetered`, or why not. */
export type Reserved = { readonly request: RequestId; readonly outcome: string; readonly data: unknown }

/** One database for the tests of a block; for each test the clock at `START` and a zone of its own, once it runs. */
export function freshZones(): { readonly world: BudgetWorld; readonly zone: BudgetZone } {
  const made: { world?: BudgetWorld; zone?: BudgetZone } = {}
  const there = <T>(one: T | undefined): T => {
    if (one === undefined) throw new Error('only there while a test runs')
    return one
  }
  beforeAll(async () => {
    made.world = await budgetWorld()
  })
  afterAll(() => made.world?.close())
  beforeEach(async () => {
    there(made.world).clock.now = START
    made.zone = await there(made.world).zone()
  })
  return {
    get world() {
      return there(made.world)
    },
    get zone() {
      return there(made.zone)
    },
  }
}

export async function budgetWorld(): Promise<BudgetWorld> {
  const database = await openDatabase({ url: await freshDatabaseUrl() })
  await migrateUp(database)
  const sts = database.as('sts')
  const clock = { now: START }
  let made = 0
  const openDesk = () => openChargeDesk({ database: sts, clock: () => clock.now, expirationMs: EXPIRATION_MS, mostMs: 3_600_000 })

  const zone = async (): Promise<BudgetZone> => {
    made += 1
    const id = newId('zone')
    const application = newId('application')
    await createZone(database.query, { id, name: `zone-${made}`, labels: [] }, START)
    await createApplication(database.query, { id: application, zone: id, name: 'agent', labels: [] }, START)
    const desk = openDesk()
    const one = async (answers: Promise<readonly ChargeAnswer[]>) => {
      const [answer] = await answers
      if (answer === undefined) throw new Error('no answer')
      return answer
    }
    return {
      id,
      application,
      desk,
      anotherDesk: openDesk,
      async budget(fields) {
        made += 1
        const whole: BudgetFields = { name: `b-${made}`, holder: application, limit: { calls: 10 }, window: 'total', per: null, ...fields }
        const created = await createBudget(database.query, { ...whole, id: newId('budget'), zone: id }, START)
        if (!created.ok) throw new Error(created.reason)
        return created.value
      },
      async standing(budget) {
        const found = await database.query.selectFrom('budgets').selectAll().where('id', '=', budget.id).executeTakeFirstOrThrow()
        const standings = await inZone(id, () => readStandings(database.as('api').query, id, [toBudget(found)], clock.now))
        const standing = standings.get(budget.id)
        if (standing === undefined) throw new Error('no standing')
        return standing
      },
      usage: async () => (await inZone(id, () => listUsage(database.as('api').query, id, {}, { limit: 10_000 }))).items,
      async reserve(order = {}) {
        const whole = reserveOrder(application, order)
        const answer = await one(desk.submit(id, [whole]))
        if (answer.act !== 'reserve') throw new Error('another answer')
        const { result } = answer
        return result.ok
          ? { request: whole.request, outcome: result.value.state, data: undefined }
          : { request: whole.request, outcome: result.reason, data: result.data }
      },
      async settle(request, actual) {
        const answer = await one(desk.submit(id, [{ act: 'settle', request, actual: actual ?? null }]))
        return answer.act === 'settle' ? answer.outcome : answer.act
      },
      async release(request) {
        const answer = await one(desk.submit(id, [{ act: 'release', request }]))
        return answer.act === 'release' ? answer.outcome : answer.act
      },
    }
  }
  return { database, clock, zone, close: () => database.close() }
}

export function reserveOrder(application: ApplicationId, order: Partial<ReserveOrder> = {}): ReserveOrder {
  return {
    act: 'reserve',
    request: newId('request'),
    what: { application, subject: null, session: null, resource: 'https://bank.example', operation: 'POST /pay' },
    holders: [application],
    price: null,
    required: false,
    ...order,
  }
}
