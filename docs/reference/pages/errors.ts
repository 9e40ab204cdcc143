import { REASONS } from '@caracal/core'
import { code, generatedFrom, page, table } from './markdown.ts'

/** Every reason a request can be refused for. */
export function errorsPage(): string {
  const rows = Object.entries(REASONS).map(([reason, entry]) => [
    `<a id="${reason}"></a>${code(reason)}`,
    String(entry.status),
    code(entry.oauth),
    'retryAfter' in entry && entry.retryAfter !== undefined ? `after ${entry.retryAfter} s` : '',
    entry.title,
    'fix' in entry && entry.fix !== undefined ? entry.fix : '',
  ])
  return page(
    '# Errors',
    generatedFrom('`packages/core/src/reason.ts`'),
    `A refusal is \`application/problem+json\` (RFC 9457) with the members \`type\` (\`urn:caracal:problem:\` and the code), \`title\`,
\`status\`, \`code\`, \`request_id\`, and where there is something to say \`detail\`, \`errors\` and \`fix\`. The token endpoint answers
in the words of OAuth (RFC 6749 §5.2): \`error\` is the OAuth column, \`code\` and \`request_id\` stand beside it. The Gateway marks
its own refusals with \`X-Caracal-Source: gateway\`, so that nobody takes them for the upstream's.`,
    `\`code\` is stable: write programs against it, not against words. Where a wait is given, \`Retry-After\` carries it and the same
request may be sent again. \`caracal explain <request id>\` tells which rules decided.`,
    table(['Code', 'Status', 'OAuth error', 'Retry', 'Means', 'What to do'], rows),
  )
}
