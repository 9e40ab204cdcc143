import { setting } from './kinds.ts'

/** When a role that decides refuses rather than lets wait; spread it into the role's own. */
export const loadSettings = {
  MAX_QUEUE_DELAY: setting.duration({
    meaning: 'Load is shed (503 `overloaded`) before calls wait this long for their turn.',
    min: 10,
    max: 10_000,
    default: 100,
  }),
  LEDGER_MAX_LAG: setting.duration({
    meaning:
      'While the ledger takes evidence but falls further behind than this, less is let in (429 `rate_limited`); a ledger that is away slows nothing down.',
    min: 1_000,
    max: 3_600_000,
    default: 30_000,
  }),
}

/** What every role takes; spread it into the role's own. `port` is the role's default (1-architecture, What runs where). */
export function serviceSettings(port: number) {
  return {
    HOST: setting.string({ meaning: 'Address to listen on.', default: '127.0.0.1' }),
    PORT: setting.port({ meaning: 'Port of the routes and probes; 0 is any free one.', default: port }),
    METRICS_PORT: setting.port({ meaning: 'Port of metrics and probes; 0 is any free one.', default: 9464 }),
    METRICS_BEARER: setting.secret({ meaning: 'When set, scrapes must carry it.', optional: true }),
    CA_BUNDLE: setting.certificates({
      meaning: 'Authorities that are trusted beside Node’s own: Postgres, Redis, upstreams. Best as `CA_BUNDLE_FILE`.',
      optional: true,
    }),
    LOG_LEVEL: setting.oneOf(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
      meaning: 'Least level that is logged.',
      default: 'info',
    }),
    DRAIN_DELAY: setting.duration({ meaning: 'How long calls are still accepted after `/ready` turned.', default: 0, max: 30_000 }),
    MAX_CONNECTIONS: setting.integer({ meaning: 'Open client connections at most.', min: 1, max: 1_000_000, default: 10_000 }),
    POD_NAME: setting.string({ meaning: 'Name of the pod, where it runs in one; then a store on loopback is refused.', optional: true }),
    TRUSTED_PROXIES: setting.list({ meaning: 'Addresses and CIDRs whose X-Forwarded-For counts.', default: [] }),
  }
}
