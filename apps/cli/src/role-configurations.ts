import { apiConfiguration } from '@caracal/api'
import { auditConfiguration } from '@caracal/audit'
import { coordinatorConfiguration } from '@caracal/coordinator'
import { gatewayConfiguration } from '@caracal/gateway'
import { mcpConfiguration } from '@caracal/mcp-adapter'
import type { Environment } from '@caracal/service'
import { stsConfiguration } from '@caracal/sts'
import type { Role } from './roles.ts'

/** How the environment of each role is read. */
export const CONFIGURATIONS = {
  sts: stsConfiguration,
  api: apiConfiguration,
  audit: auditConfiguration,
  coordinator: coordinatorConfiguration,
  gateway: gatewayConfiguration,
  'mcp-adapter': mcpConfiguration,
} as const satisfies Readonly<Record<Role, { readonly parse: (environment: Environment) => unknown }>>
