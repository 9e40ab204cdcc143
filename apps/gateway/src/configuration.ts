import { enforcementProblems, enforcementSettings } from '@caracal/enforcement-point'
import { defineConfiguration, setting, type Values } from '@caracal/service'
import { tlsProblems, tlsSettings } from './tls-settings.ts'

const settings = {
  ...enforcementSettings(8081),
  ...tlsSettings,
  GATEWAY_BASE_DOMAIN: setting.string({
    meaning: 'Requests to {resource name}.<this domain> are routed by host; unset = off.',
    optional: true,
  }),
  UPSTREAM_TIMEOUT: setting.duration({
    meaning: 'Longest wait for an upstream to begin its answer, whatever its resource allows.',
    min: 1_000,
    max: 3_600_000,
    default: 3_600_000,
  }),
  MAX_REQUEST_BYTES: setting.integer({
    meaning: 'Largest body of any request, whatever its resource allows.',
    min: 0,
    max: 1024 ** 3,
    default: 1024 ** 3,
  }),
}

/** The environment of the Gateway. */
export const gatewayConfiguration = defineConfiguration(settings, (values) => [...enforcementProblems(values), ...tlsProblems(values)])

export type GatewayConfiguration = Values<typeof settings>
