import type { Session, SessionId, UnixMillis, ZoneId } from '@caracal/core'
import { findSessions, type Queryable } from '@caracal/postgres'
import Type, { type Static } from 'typebox'
import { IdOf } from '../routes/parameters.ts'
import { type StandingWord, standingWord } from './standing.ts'

const Time = Type.Number({ description: 'Unix time in milliseconds' })

/** A session as answers show it. */
export const SessionBody = Type.Object({
  id: IdOf('session'),
  zone: IdOf('zone'),
  application: IdOf('application'),
  kind: Type.Union([Type.Literal('task'), Type.Literal('service')]),
  parent: Type.Union([IdOf('session'), Type.Null()]),
  lineage: Type.Array(IdOf('session'), { description: 'Root → this session' }),
  labels: Type.Array(Type.String()),
  subject: Type.Union([IdOf('subject'), Type.Null()]),
  state: Type.Union([Type.Literal('active'), Type.Literal('suspended'), Type.Literal('ended')], {
    description: 'What the row says',
  }),
  standing: Type.Union([Type.Literal('active'), Type.Literal('suspended'), Type.Literal('ended')], {
    description: 'What it can do now: time, lease and everything above it considered',
  }),
  expiresAt: Type.Number({ description: 'Unix time in milliseconds. It does not move while the session is suspended' }),
  lease: Type.Union([Type.Object({ generation: Type.Integer(), expiresAt: Time }), Type.Null()]),
  endedAt: Type.Union([Time, Type.Null()]),
  version: Type.Integer(),
  createdAt: Time,
  updatedAt: Time,
})

export type SessionShown = Static<typeof SessionBody>

export function showSession(session: Session, standing: StandingWord): SessionShown {
  const { id, zone, application, kind, parent, subject, state, expiresAt, lease, endedAt, ...stored } = session
  const { version, createdAt, updatedAt } = stored
  return {
    id,
    zone,
    application,
    kind,
    parent,
    lineage: [...session.lineage],
    labels: [...session.labels],
    subject,
    state,
    standing,
    expiresAt,
    lease: lease === null ? null : { ...lease },
    endedAt,
    version,
    createdAt,
    updatedAt,
  }
}

/** Shows sessions with their standing; what is above them is read in one statement. */
export async function showSessions(
  db: Queryable,
  zone: ZoneId,
  sessions: readonly Session[],
  now: UnixMillis,
): Promise<readonly SessionShown[]> {
  const known = new Map<SessionId, Session>(sessions.map((session) => [session.id, session]))
  const missing = [...new Set(sessions.flatMap((session) => session.lineage))].filter((id) => !known.has(id))
  for (const session of await findSessions(db, zone, missing)) known.set(session.id, session)
  return sessions.map((session) => showSession(session, standingWord(session, known, now)))
}
