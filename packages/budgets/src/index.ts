export { readStandings } from './budget-standing.ts'
export { type ChargeDesk, type ChargeDeskOptions, openChargeDesk } from './charge-desk.ts'
export type { ChargeAnswer, ChargeOrder, ReleaseOrder, Reserved, ReserveOrder, ReserveRefusal, SettleOrder } from './charge-order.ts'
export { type ExpireOptions, expireChargesJob } from './expire-charges.ts'
