import { EVENT_TYPES, MAX_EVENT_BYTES } from '@caracal/core'
import { code, generatedFrom, page, table } from './markdown.ts'

const MEMBERS: readonly (readonly [name: string, meaning: string])[] = [
  ['v', 'Version of this form: 1.'],
  ['id', 'Id of the event, `evt_…`.'],
  ['zone', 'The zone whose log it is in.'],
  ['time', 'RFC 3339, UTC, microseconds: when the service decided.'],
  ['type', 'One of the types below.'],
  ['service', 'Which role made it.'],
  ['actor', 'Who acted, as far as known: application, subject, sessions, delegations, admin token, source address.'],
  ['resource', 'Identifier of the resource.'],
  ['operation', 'Method, path without query, template that matched; a digest of the arguments when a condition read them.'],
  ['target', 'The row that an administrative change is about.'],
  ['decision', '`allow`, `hold` or `deny`.'],
  ['reason', 'Why, from the [catalogue of errors](errors.md); absent when it is allowed.'],
  ['scopes', 'What was asked for or used.'],
  ['policy', 'The policy set version that decided and the rules in it.'],
  ['mandate', 'Id, transaction and expiry of the mandate; ids of those it was exchanged from.'],
  ['outcome', 'Of a finished call: status, milliseconds, bytes, upstream, why it was cut.'],
  ['count', 'How many alike it stands for: refusals before authentication are put together per source and second.'],
  ['request_id', 'Id of the request, as in `X-Request-Id`.'],
  ['client_request_id', 'The id that the caller gave.'],
  ['trace_id', 'W3C trace id.'],
  ['details', 'More, by type.'],
]

/** The catalogue of evidence. */
export function eventsPage(): string {
  return page(
    '# Events',
    generatedFrom('`packages/core/src/event.ts`'),
    `An event is one piece of evidence. It is RFC 8785 JSON of at most ${MAX_EVENT_BYTES.toLocaleString('en')} bytes, made once by the service
that decided; those exact bytes are signed, kept, hashed into the log and exported. It never holds a credential, a token, a body or the
value of an argument. How to check events: [Evidence](../evidence.md).`,
    '## Types',
    table(
      ['Type', 'Records'],
      Object.entries(EVENT_TYPES).map(([type, meaning]) => [code(type), meaning]),
    ),
    '## Members',
    table(
      ['Member', 'Is'],
      MEMBERS.map(([name, meaning]) => [code(name), meaning]),
    ),
  )
}
