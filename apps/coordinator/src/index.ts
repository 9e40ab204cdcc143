export { type CoordinatorConfiguration, coordinatorConfiguration } from './configuration.ts'
export { type CoordinatorShared, startCoordinator } from './service.ts'
