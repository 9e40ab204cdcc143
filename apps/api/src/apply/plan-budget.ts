import type { ApplicationId, Budget } from '@caracal/core'
import type { BudgetFields } from '@caracal/postgres'
import { budgetFaults, budgetFields, isHolderId, movedFaults } from './check-budget.ts'
import { blame, type DocumentOf, type Draft, planRow } from './plan-row.ts'
import { changesInWords } from './words.ts'

/** Plans one budget, after the applications: it names one of them, or a session, delegation or subject by id. */
export function planBudget(
  draft: Draft,
  document: DocumentOf<'Budget'>,
  applications: readonly { readonly id: ApplicationId; readonly name: string }[],
): void {
  const { holdings, ids } = draft
  const { body } = document
  const before = holdings?.budgets.find((one) => one.name === body.name)
  const id = before?.id ?? ids('budget', draft.name, body.name)
  const holder = isHolderId(body.holder) ? body.holder : applications.find((one) => one.name === body.holder || one.id === body.holder)?.id
  for (const { field, message } of budgetFaults(body)) blame(draft, document, field, message)
  if (holder === undefined) {
    blame(
      draft,
      document,
      'holder',
      `there is no application ${body.holder} in zone ${draft.name}, and it is no id of a session, delegation or subject`,
    )
    return
  }
  const fields = budgetFields(body, holder)
  if (before !== undefined) for (const { field, message } of movedFaults(before, fields)) blame(draft, document, field, message)
  const changes = before === undefined ? [] : changesInWords(budgetFieldsOf(before), fields)
  planRow(draft, document, changes, { kind: 'budget', id, version: before?.version, fields })
}

function budgetFieldsOf({ name, holder, limit, window, per }: Budget): BudgetFields {
  return { name, holder, limit, window, per }
}
