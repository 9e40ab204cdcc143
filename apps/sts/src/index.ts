export { type StsConfiguration, stsConfiguration } from './configuration.ts'
export { type StsShared, startSts } from './service.ts'
