import { enforcementProblems, enforcementSettings } from '@caracal/enforcement-point'
import { defineConfiguration, setting, type Values } from '@caracal/service'

const settings = {
  ...enforcementSettings(8081),
  GATEWAY_BASE_DOMAIN: setting.string({
    meaning: 'Requests to {resource name}.<this domain> are routed by host; unset = off.',
    optional: true,
  }),
  MAX_REQUEST_BYTES: setting.integer({
    meaning: 'Largest body of any request, whatever its resource allows.',
    min: 0,
    max: 1024 ** 3,
    default: 1024 ** 3,
  }),
}

/** The environment of the Gateway. */
export const gatewayConfiguration = defineConfiguration(settings, enforcementProblems)

export type GatewayConfiguration = Values<typeof settings>
