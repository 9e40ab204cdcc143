export { type GatewayConfiguration, gatewayConfiguration } from './configuration.ts'
export { type GatewayShared, startGateway } from './service.ts'
