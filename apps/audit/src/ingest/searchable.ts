import type { Event } from '@caracal/core'

/** Longest value that is searched for; what is longer is found by its beginning. An index entry of Postgres ends at 2 700 bytes. */
export const MAX_SEARCHED = 512

/**
 * The event as the search columns take it. Callers choose some of these values (a resource that does not exist, a subject):
 * whatever they send, the event is kept (P-097). The text that is hashed and exported is not touched.
 */
export function searchable(event: Event): Event {
  const { actor, mandate } = event
  return {
    ...event,
    ...(event.resource === undefined ? {} : { resource: column(event.resource) }),
    ...(event.request_id === undefined ? {} : { request_id: column(event.request_id) }),
    ...(actor === undefined
      ? {}
      : {
          actor: {
            ...actor,
            ...(actor.application === undefined ? {} : { application: column(actor.application) }),
            ...(actor.subject === undefined ? {} : { subject: column(actor.subject) }),
            ...(actor.sessions === undefined ? {} : { sessions: actor.sessions.slice(-1).map(column) }),
          },
        }),
    ...(mandate === undefined ? {} : { mandate: { ...mandate, jti: column(mandate.jti) } }),
  }
}

/** Without what Postgres does not hold as text, and short enough for an index. */
export function column<T extends string>(value: T): T {
  const text = String(value).slice(0, MAX_SEARCHED).replaceAll('\u0000', '\ufffd')
  return (text.isWellFormed() ? text : text.toWellFormed()) as T
}
