export { type McpConfiguration, mcpConfiguration } from './configuration.ts'
export { type McpShared, startMcpAdapter } from './service.ts'
