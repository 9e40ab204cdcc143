import { type ChargeDesk, expireChargesJob, type LostSlice, loseSlicesJob, openChargeDesk, purgeUsageJob } from '@caracal/budgets'
import { type Clock, formatAmount } from '@caracal/core'
import { type Charge, type Database, enqueue, type Job, type OutboxMessage } from '@caracal/postgres'
import type { Metrics } from '@caracal/service'
import type { EventDraft } from '@caracal/streams'

/** The settings of charges, in milliseconds and numbers. */
export type ChargeSettings = {
  readonly PROVISIONAL_CHARGE_EXPIRATION: number
  readonly PROVISIONAL_CHARGE_MAX: number
  readonly PROVISIONAL_CHARGE_SWEEP_INTERVAL: number
  readonly PROVISIONAL_CHARGE_SWEEP_BATCH: number
  readonly USAGE_RETENTION: number
}

/** Where enforcement points charge calls, and the jobs that give back what they do not settle in time, and forget what is over. */
export function keepCharges(options: {
  readonly database: Database
  readonly clock: Clock
  readonly config: ChargeSettings
  readonly evidenceIn: (draft: EventDraft) => OutboxMessage
  readonly metrics: Metrics
}): { readonly desk: ChargeDesk; readonly jobs: readonly Job[] } {
  const { database, clock, config, evidenceIn, metrics } = options
  const expired = metrics.counter('caracal_charges_expired_total', 'Charges that nobody settled in time, given back by this replica.')
  const purged = metrics.counter(
    'caracal_usage_purged_total',
    'Rows of usage that were older than their retention, deleted by this replica.',
  )
  const groupSeconds = metrics.histogram(
    'caracal_charge_group_seconds',
    'Time of a transaction that charges and settles calls of a zone.',
    [],
  )
  const orders = metrics.counter('caracal_charge_orders_total', 'Reservations, settlements and releases that were worked through.')
  const round = {
    database,
    clock,
    everyMs: config.PROVISIONAL_CHARGE_SWEEP_INTERVAL,
    batch: config.PROVISIONAL_CHARGE_SWEEP_BATCH,
  }
  return {
    desk: openChargeDesk({
      database,
      clock,
      expirationMs: config.PROVISIONAL_CHARGE_EXPIRATION,
      mostMs: config.PROVISIONAL_CHARGE_MAX,
      onGroup: (many, ms) => {
        orders.inc(many)
        groupSeconds.observe(ms / 1000)
      },
    }),
    jobs: [
      expireChargesJob({
        ...round,
        onExpired: (tx, charges) =>
          enqueue(
            tx,
            charges.map((charge) => evidenceIn(expiryEvent(charge))),
          ),
        onDone: (many) => expired.inc(many),
      }),
      loseSlicesJob({
        ...round,
        onLost: (tx, slices) =>
          enqueue(
            tx,
            slices.map((slice) => evidenceIn(lossEvent(slice))),
          ),
      }),
      purgeUsageJob({
        database,
        clock,
        keepMs: config.USAGE_RETENTION,
        batch: config.PROVISIONAL_CHARGE_SWEEP_BATCH,
        onDone: (many) => purged.inc(many),
      }),
    ],
  }
}

/** A call that was let through and of which nobody said how it ended. */
function expiryEvent({ zone, request, what, amount, currency, held }: Charge): EventDraft {
  return {
    zone,
    type: 'budget.expired',
    actor: { application: what.application },
    resource: what.resource,
    request_id: request,
    details: {
      budgets: held.map(({ budget }) => budget),
      ...(currency === null ? {} : { amount: formatAmount(amount), currency }),
    },
  }
}

/** What a point held for the time that the store is away, and never said what it spent of: it counts as spent. */
function lossEvent({ zone, budget, point, amount, currency }: LostSlice): EventDraft {
  const common = { budgets: [budget], point }
  const lost: EventDraft['details'] = currency === null ? { calls: String(amount) } : { amount: formatAmount(amount), currency }
  return { zone, type: 'budget.lost', details: { ...common, ...lost } }
}
