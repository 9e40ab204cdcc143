import { AUTH_MODES, enforcementProblems, enforcementSettings } from '@caracal/enforcement-point'
import { type ConfigurationProblem, defineConfiguration, setting, type Values } from '@caracal/service'
import { readMcpServers } from './mcp-servers.ts'

const settings = {
  ...enforcementSettings(8080),
  MCP_SERVERS: setting.list({
    meaning: 'MCP servers behind the adapter, `name=url`; the resource of type mcp with that name and upstream governs it.',
    default: [],
  }),
  MCP_SERVER_TIMEOUT: setting.duration({
    meaning: 'How long an MCP server may be silent while a call waits for it.',
    min: 100,
    max: 3_600_000,
    default: 30_000,
  }),
  MCP_PUBLIC_URL: setting.url({
    meaning: 'Where clients reach the adapter, for its OAuth metadata; unset = http and the Host of each request.',
    optional: true,
  }),
  MCP_ALLOWED_ORIGINS: setting.list({
    meaning: 'Web origins whose pages may call, e.g. `https://app.example.com`; any other Origin is refused.',
    default: [],
  }),
  MCP_AUTH_MODE: setting.oneOf(AUTH_MODES, {
    meaning: 'What callers of the adapter present; unset = AUTH_MODE. The adapter has no TLS of its own, so not mtls.',
    optional: true,
  }),
}

/** The environment of the MCP Adapter. */
export const mcpConfiguration = defineConfiguration(settings, (values): ConfigurationProblem[] => {
  const problems: ConfigurationProblem[] = [...enforcementProblems({ ...values, AUTH_MODE: values.MCP_AUTH_MODE ?? values.AUTH_MODE })]
  for (const fault of readMcpServers(values.MCP_SERVERS, values.CARACAL_MODE).faults) problems.push({ name: 'MCP_SERVERS', rule: fault })
  if ((values.MCP_AUTH_MODE ?? values.AUTH_MODE) === 'mtls')
    problems.push({ name: 'MCP_AUTH_MODE', rule: 'must be mandate, jwt or api_key: the adapter sees no client certificates' })
  return problems
})

export type McpConfiguration = Values<typeof settings>
