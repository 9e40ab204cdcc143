import { stringify } from 'yaml'
import {
  CANARY_UPSTREAM_PORT,
  COMPONENT_NAMES,
  COMPONENTS,
  callersOf,
  METRICS_PORT,
  PUBLIC_PATHS,
  SECRET_KEYS,
  SERVICE_NAMES,
} from '../../packages/service/src/deploy-contract.ts'

/** The contract as the templates read it. */
export function contractFile(): string {
  const components = Object.fromEntries(
    COMPONENT_NAMES.map((name) => {
      const { kind, args, port, spool, settings, keys, stores, calls, calledFromOutside } = COMPONENTS[name]
      return [
        name,
        {
          kind,
          args,
          ...(port === undefined ? {} : { port }),
          spool,
          settings,
          keys: keys.map((one) => ({ when: '', ...one })),
          stores,
          calls: calls.map((callee) => ({ component: callee, port: COMPONENTS[callee].port })),
          calledBy: callersOf(name),
          calledFromOutside,
        },
      ]
    }),
  )
  const keys = Object.fromEntries(Object.entries(SECRET_KEYS).map(([key, { required, rotates }]) => [key, { required, rotates }]))
  return `# Made from packages/service/src/deploy-contract.ts by \`make chart\`; do not edit.\n${stringify(
    {
      services: SERVICE_NAMES,
      metricsPort: METRICS_PORT,
      canaryUpstreamPort: CANARY_UPSTREAM_PORT,
      publicPaths: PUBLIC_PATHS,
      keys,
      components,
    },
    { lineWidth: 0, aliasDuplicateObjects: false },
  )}`
}
