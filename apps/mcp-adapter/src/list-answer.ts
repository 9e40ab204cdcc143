import type { CallDependencies, Standing } from '@caracal/enforcement'
import type { Collected } from '@caracal/enforcement-point'
import { parseJsonBody } from '@caracal/service'
import { isObject, type JsonObject } from './message.ts'
import { couldUse } from './visible.ts'

/** What a server answered to one request: the response, and notifications that came before it. */
export type Answered = { readonly response: JsonObject; readonly before: readonly JsonObject[] }

/** Whether an answer is a stream of events. */
export function isEventStream(headers: Collected['headers']): boolean {
  return typeof headers['content-type'] === 'string' && /^text\/event-stream\b/i.test(headers['content-type'])
}

/** The messages of an answer, as JSON or as events; null when it is neither, or the response is not in it. */
export function answerTo(id: unknown, { headers, body }: Pick<Collected, 'headers' | 'body'>): Answered | null {
  const texts = isEventStream(headers) ? eventsIn(body.toString('utf8')) : [body.toString('utf8')]
  const before: JsonObject[] = []
  for (const text of texts) {
    if (text.trim() === '') continue
    const parsed = parseJsonBody(Buffer.from(text, 'utf8'))
    if (!parsed.ok || !isObject(parsed.value)) return null
    const message = parsed.value
    if (message.id === id && ('result' in message || 'error' in message)) return { response: message, before }
    before.push(message)
  }
  return null
}

/** `data` of every complete event, in order. */
function eventsIn(text: string): string[] {
  return text
    .replaceAll('\r\n', '\n')
    .replaceAll('\r', '\n')
    .split('\n\n')
    .slice(0, -1)
    .map((event) =>
      event
        .split('\n')
        .filter((line) => line.startsWith('data:'))
        .map((line) => line.slice(5).replace(/^ /, ''))
        .join('\n'),
    )
}

const LISTED: Readonly<Record<string, { readonly member: string; readonly by: string; readonly method: string }>> = {
  'tools/list': { member: 'tools', by: 'name', method: 'tools/call' },
  'prompts/list': { member: 'prompts', by: 'name', method: 'prompts/get' },
  'resources/list': { member: 'resources', by: 'uri', method: 'resources/read' },
  'resources/templates/list': { member: 'resourceTemplates', by: 'uriTemplate', method: 'resources/templates/list' },
}

/**
 * The answer to a list with what this caller could call, in its order (P-088). What has no name, or is no list, is left out: nothing is
 * shown that was not looked at. An error of the server stays as it is.
 */
export function narrowList(method: string, response: JsonObject, standing: Standing, dependencies: CallDependencies): JsonObject {
  const listed = LISTED[method]
  if (listed === undefined || !('result' in response)) return response
  const result = isObject(response.result) ? response.result : {}
  const items = result[listed.member]
  const could = (item: unknown) => {
    const name = isObject(item) ? item[listed.by] : undefined
    return typeof name === 'string' && couldUse(standing, listed.method, name, dependencies).could === 'yes'
  }
  return { ...response, result: { ...result, [listed.member]: Array.isArray(items) ? items.filter(could) : [] } }
}
