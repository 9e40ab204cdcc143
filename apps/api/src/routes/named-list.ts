import type { Result, ZoneId } from '@caracal/core'
import type { Page, PageRequest } from '@caracal/postgres'
import { type Answer, answer, type Cursors, LIST_QUERY, listReply } from '@caracal/service'
import Type from 'typebox'

/** Query of a list without filter. */
export const ListQuery = Type.Object({ ...LIST_QUERY })

/** Query of a list whose items have names, unique in their zone. */
export const NamedListQuery = Type.Object({
  ...LIST_QUERY,
  name: Type.Optional(Type.String({ minLength: 1, maxLength: 63, description: 'Only the one of this name' })),
})

type ListRequest = {
  readonly zone: ZoneId | null
  readonly query: { readonly limit?: number; readonly cursor?: string }
}

/** One page. The cursor is bound to this list, zone and filter (P-127). */
export async function listAnswer<T>(
  cursors: Cursors,
  route: string,
  { zone, query }: ListRequest,
  filter: Readonly<Record<string, unknown>>,
  read: (page: PageRequest) => Promise<Page<T>>,
  show: (item: T) => unknown = (item) => item,
): Promise<Result<never> | Answer> {
  const binding = { route, zone, filter }
  const after = cursors.open(query.cursor, binding)
  if (!after.ok) return after
  const { items, next } = await read({ after: after.value, limit: query.limit ?? 100 })
  return answer(200, listReply({ items: items.map(show), next }, cursors, binding))
}

/** The same for rows with names. */
export async function namedListAnswer<T>(
  cursors: Cursors,
  route: string,
  request: ListRequest & { readonly query: { readonly name?: string } },
  source: { readonly list: (page: PageRequest) => Promise<Page<T>>; readonly byName: (name: string) => Promise<T | undefined> },
  show: (item: T) => unknown = (item) => item,
): Promise<Result<never> | Answer> {
  const { name } = request.query
  const read = async (page: PageRequest): Promise<Page<T>> => {
    if (name === undefined) return source.list(page)
    const found = await source.byName(name)
    return { items: found === undefined ? [] : [found], next: null }
  }
  return listAnswer(cursors, route, request, { name: name ?? null }, read, show)
}
