import { type IdKind, isId, type Result, refuse, type ZoneId } from '@caracal/core'
import type { Page, PageRequest } from '@caracal/postgres'
import { type Answer, answer, type Cursors, listReply } from '@caracal/service'

type ListRequest = { readonly zone: ZoneId | null; readonly query: { readonly limit?: number; readonly cursor?: string } }

/** One page of a list ordered by the ids of `kind`. Its cursor is bound to this list, zone, caller and filter (P-127). */
export async function pageAnswer<T>(
  cursors: Cursors,
  list: { readonly route: string; readonly kind: IdKind; readonly filter: Readonly<Record<string, unknown>> },
  { zone, query }: ListRequest,
  read: (page: PageRequest) => Promise<Page<T>>,
  show: (items: readonly T[]) => Promise<readonly unknown[]> | readonly unknown[],
): Promise<Result<never> | Answer> {
  const binding = { route: list.route, zone, filter: list.filter }
  const after = cursors.open(query.cursor, binding)
  if (!after.ok) return after
  if (after.value !== undefined && !isId(list.kind, after.value)) return refuse('invalid_request', 'the cursor is not one of this list')
  const page = await read({ after: after.value, limit: query.limit ?? 100 })
  return answer(200, listReply({ items: await show(page.items), next: page.next }, cursors, binding))
}
