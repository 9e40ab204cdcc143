export { type ApiConfiguration, apiConfiguration } from './configuration.ts'
export { type ApiShared, startApi } from './start-api.ts'
