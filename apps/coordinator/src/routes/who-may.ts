import { application, role, type Who } from '@caracal/service'

/** Who reads and who changes sessions: applications their own, operators all. */
export const SESSION_READERS: readonly Who[] = [application('sessions'), role('viewer', 'operator', 'auditor')]
export const SESSION_WRITERS: readonly Who[] = [application('sessions'), role('operator')]

/** The same for delegations. */
export const DELEGATION_READERS: readonly Who[] = [application('delegations'), role('viewer', 'operator', 'auditor')]
export const DELEGATION_WRITERS: readonly Who[] = [application('delegations'), role('operator')]
