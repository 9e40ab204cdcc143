import type { Clock, ZoneId } from '@caracal/core'
import { type Database, inZone } from '@caracal/postgres'
import type { ChargeAnswer, ChargeOrder } from './charge-order.ts'
import { workGroup } from './work-group.ts'

/** Where charges are ordered. */
export type ChargeDesk = {
  /**
   * Works through these orders and answers in their order, once all of it is committed. Rejects when the database is away: then
   * nothing is known of them, and whoever asked releases what it does not use.
   */
  submit(zone: ZoneId, orders: readonly ChargeOrder[]): Promise<readonly ChargeAnswer[]>
}

export type ChargeDeskOptions = {
  readonly database: Database
  readonly clock: Clock
  /** How long a provisional charge stands. Milliseconds. */
  readonly expirationMs: number
  /** What a reservation may ask for at most. Milliseconds. */
  readonly mostMs: number
  /** Told of each group that was committed: how many orders, how long it took in milliseconds. */
  readonly onGroup?: (orders: number, ms: number) => void
}

type Waiting = {
  readonly orders: readonly ChargeOrder[]
  readonly answer: (answers: readonly ChargeAnswer[]) => void
  readonly fail: (error: unknown) => void
}

/** Orders in one transaction at most. */
const MOST_ORDERS = 500
/** How often a group is tried that Postgres chose to give way to another. */
const MOST_TRIES = 4

/**
 * One transaction at a time for each zone; what comes meanwhile goes together in the next. So many reservations of one budget share its
 * lock and a commit, and none waits longer than one transaction for its turn to begin.
 */
export function openChargeDesk(options: ChargeDeskOptions): ChargeDesk {
  const { database, clock, expirationMs, mostMs, onGroup } = options
  const queues = new Map<ZoneId, Waiting[]>()

  const work = async (zone: ZoneId, orders: readonly ChargeOrder[]): Promise<readonly ChargeAnswer[]> => {
    for (let tries = 1; ; tries += 1) {
      try {
        return await inZone(zone, () => database.transaction((tx) => workGroup(tx, orders, { zone, now: clock(), expirationMs, mostMs })))
      } catch (error) {
        if (tries >= MOST_TRIES || !gaveWay(error)) throw error
      }
    }
  }

  const drain = async (zone: ZoneId, queue: Waiting[]): Promise<void> => {
    while (queue.length > 0) {
      const group = nextGroup(queue)
      const began = performance.now()
      try {
        const orders = group.flatMap((one) => one.orders)
        const answers = await work(zone, orders)
        onGroup?.(orders.length, performance.now() - began)
        let at = 0
        for (const one of group) {
          one.answer(answers.slice(at, at + one.orders.length))
          at += one.orders.length
        }
      } catch (error) {
        for (const one of group) one.fail(error)
      }
    }
    queues.delete(zone)
  }

  return {
    submit: (zone, orders) =>
      new Promise((answer, fail) => {
        const waiting = { orders, answer, fail }
        const running = queues.get(zone)
        if (running !== undefined) {
          running.push(waiting)
          return
        }
        const queue = [waiting]
        queues.set(zone, queue)
        void drain(zone, queue)
      }),
  }
}

function nextGroup(queue: Waiting[]): readonly Waiting[] {
  let orders = 0
  let many = 0
  for (const one of queue) {
    if (many > 0 && orders + one.orders.length > MOST_ORDERS) break
    orders += one.orders.length
    many += 1
  }
  return queue.splice(0, many)
}

/** SQLSTATE 40P01, 40001: of two transactions in each other's way Postgres ended this one. */
function gaveWay(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === '40P01' || error.code === '40001')
}
