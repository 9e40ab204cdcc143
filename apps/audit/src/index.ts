export { type AuditConfiguration, auditConfiguration } from './configuration.ts'
export { type AuditShared, startAudit } from './service.ts'
