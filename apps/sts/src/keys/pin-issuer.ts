import type { UnixMillis } from '@caracal/core'
import { type Database, pinSetting, writeSetting } from '@caracal/postgres'
import { ConfigurationError, type Logger } from '@caracal/service'

/**
 * The issuer stands in every mandate that is out: a URL that changed by accident would refuse them all at once. The first one is
 * pinned; another starts only when the pinned one is among the aliases, which keeps it accepted (P-021). In dev it may change.
 */
export async function pinIssuer(
  database: Database,
  config: { readonly ISSUER_URL: string; readonly ISSUER_ALIASES: readonly string[]; readonly CARACAL_MODE: 'dev' | 'rc' | 'stable' },
  now: UnixMillis,
  logger: Logger,
): Promise<void> {
  const pinned = await pinSetting(database.query, 'issuer', config.ISSUER_URL, now)
  if (pinned === config.ISSUER_URL) return
  if (config.CARACAL_MODE !== 'dev' && !config.ISSUER_ALIASES.some((alias) => alias === pinned)) {
    const rule = `was ${String(pinned)} before: put that into ISSUER_ALIASES until its mandates have ended, or set it back`
    throw new ConfigurationError([{ name: 'ISSUER_URL', rule }])
  }
  logger.warn({ before: pinned, now: config.ISSUER_URL }, 'the issuer moved')
  await writeSetting(database.query, 'issuer', config.ISSUER_URL, now)
}
