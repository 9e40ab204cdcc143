export { readStandings } from './budget-standing.ts'
export { type ChargeDesk, type ChargeDeskOptions, openChargeDesk } from './charge-desk.ts'
export type {
  ChargeAnswer,
  ChargeOrder,
  HeldSlice,
  HoldOrder,
  ReleaseOrder,
  Reserved,
  ReserveOrder,
  ReserveRefusal,
  SettleOrder,
  SpendOrder,
  SpentPart,
  WantedSlice,
} from './charge-order.ts'
export { type ExpireOptions, expireChargesJob } from './expire-charges.ts'
export { type LostSlice, loseSlicesJob } from './lose-slices.ts'
export { purgeUsageJob } from './purge-usage.ts'
export { MOST_SHARE } from './slices.ts'
