import { readStandings } from '@caracal/budgets'
import { type Budget, isId, newId, ok, type Result, refuse, type ZoneId } from '@caracal/core'
import {
  archiveBudget,
  type BudgetFields,
  createBudget,
  findApplication,
  findApplicationByName,
  findBudget,
  findBudgetByName,
  findDelegation,
  findSession,
  listBudgets,
  type Page,
  type Queryable,
  updateBudget,
} from '@caracal/postgres'
import { answer, etag, ifMatch, LIST_QUERY, ListOf, Problem, type RouteRow, role, route } from '@caracal/service'
import Type, { type Static } from 'typebox'
import { budgetFaults, budgetFields, isHolderId, movedFaults } from '../apply/check-budget.ts'
import { BudgetDocument } from '../apply/document-schemas.ts'
import { commitChange } from '../change/commit-change.ts'
import { deletion } from '../change/delete-answer.ts'
import type { ApiDesk } from '../desk.ts'
import { BudgetBody, DeleteBody } from './entity-schemas.ts'
import { listAnswer } from './named-list.ts'
import { DryRunQuery, IdOf, InZone, NameText, OfZone, readers, zoneOf } from './parameters.ts'
import { refuseBody } from './violations.ts'

const { kind: _kind, zone: _zone, ...members } = BudgetDocument.properties

const BudgetInput = Type.Object(members)

const Holder = Type.Union([IdOf('application'), IdOf('session'), IdOf('delegation'), IdOf('subject')])

/** `/v1/zones/{zone}/budgets`. */
export function budgetRoutes(desk: ApiDesk): RouteRow[] {
  const { database, now } = desk
  const standing = async (zone: ZoneId, budgets: readonly Budget[]) => {
    const standings = await readStandings(database.query, zone, budgets, now())
    return budgets.flatMap((budget) => {
      const found = standings.get(budget.id)
      return found === undefined ? [] : [{ ...budget, standing: found }]
    })
  }
  /** As nothing was charged yet, or in the transaction of a change. */
  const shown = async (tx: Queryable, budget: Budget, at: number) => {
    const found = (await readStandings(tx, budget.zone, [budget], at)).get(budget.id)
    return { ...budget, standing: found }
  }
  return [
    route({
      method: 'GET',
      path: '/v1/zones/:zone/budgets',
      who: readers,
      summary: 'Budgets of a zone and how they stand',
      exposure: 'public',
      rate: 'read',
      params: OfZone,
      query: Type.Object({ ...LIST_QUERY, name: Type.Optional(NameText), holder: Type.Optional(Holder) }),
      reply: { 200: ListOf(BudgetBody) },
      handle: (request) => {
        const { name, holder } = request.query
        const zone = zoneOf(request)
        const filter = { ...(name === undefined ? {} : { name }), ...(holder === undefined ? {} : { holder }) }
        return listAnswer(desk.cursors, 'budgets', request, filter, async (page) => {
          const found: Page<Budget> =
            name === undefined
              ? await listBudgets(database.query, zone, page, { holder })
              : onlyOne(await findBudgetByName(database.query, zone, name), holder)
          return { items: await standing(zone, found.items), next: found.next }
        })
      },
    }),
    route({
      method: 'POST',
      path: '/v1/zones/:zone/budgets',
      who: role('operator'),
      summary: 'Limit what an application, session, delegation or subject may spend',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      idempotent: true,
      params: OfZone,
      body: BudgetInput,
      reply: { 201: BudgetBody, 409: Problem('conflict'), 422: Problem('validation_failed') },
      handle: (request) =>
        commitChange(desk, request, async (tx, at) => {
          const zone = zoneOf(request)
          const fields = await readFields(tx, zone, request.body)
          if (!fields.ok) return fields
          const made = await createBudget(tx, { ...fields.value, id: newId('budget', at), zone }, at)
          if (!made.ok) return made
          const { id, name, version } = made.value
          return ok({
            answer: answer(201, await shown(tx, made.value, at), { location: `/v1/zones/${zone}/budgets/${id}`, etag: etag(version) }),
            events: [
              { zone, type: 'admin.changed', target: { kind: 'budget', id, name }, details: { action: 'create', ...toldOf(made.value) } },
            ],
            config: [{ zone, entity: 'budget', id }],
          })
        }),
    }),
    route({
      method: 'GET',
      path: '/v1/zones/:zone/budgets/:id',
      who: readers,
      summary: 'One budget and how it stands',
      exposure: 'public',
      rate: 'read',
      params: InZone('budget'),
      reply: { 200: BudgetBody, 404: Problem('not_found') },
      handle: async (request) => {
        const found = await findBudget(database.query, zoneOf(request), request.params.id)
        if (found === undefined) return refuse('not_found')
        const [budget] = await standing(found.zone, [found])
        return answer(200, budget, { etag: etag(found.version) })
      },
    }),
    route({
      method: 'PUT',
      path: '/v1/zones/:zone/budgets/:id',
      who: role('operator'),
      summary: 'Replace name and limit of a budget; holder, unit and window stay',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      params: InZone('budget'),
      body: BudgetInput,
      reply: {
        200: BudgetBody,
        404: Problem('not_found'),
        409: Problem('conflict'),
        412: Problem('version_moved'),
        422: Problem('validation_failed'),
      },
      handle: (request) =>
        commitChange(desk, request, async (tx, at) => {
          const zone = zoneOf(request)
          const { id } = request.params
          const before = await findBudget(tx, zone, id)
          if (before === undefined) return refuse('not_found')
          const matched = ifMatch(request.headers['if-match'], etag(before.version))
          if (!matched.ok) return matched
          const fields = await readFields(tx, zone, request.body)
          if (!fields.ok) return fields
          const moved = movedFaults(before, fields.value)
          if (moved.length > 0) return refuseBody(moved)
          const after = await updateBudget(tx, before, fields.value, at)
          if (!after.ok) return after
          const target = { kind: 'budget', id, name: after.value.name }
          return ok({
            answer: answer(200, await shown(tx, after.value, at), { etag: etag(after.value.version) }),
            events: [{ zone, type: 'admin.changed', target, details: { action: 'update', ...toldOf(after.value) } }],
            config: [{ zone, entity: 'budget', id }],
          })
        }),
    }),
    route({
      method: 'DELETE',
      path: '/v1/zones/:zone/budgets/:id',
      who: role('operator'),
      summary: 'Archive a budget: its holder is not limited by it any more; what calls cost stays in the usage',
      exposure: 'public',
      rate: 'mutation',
      audit: 'admin.changed',
      params: InZone('budget'),
      query: DryRunQuery,
      reply: { 200: DeleteBody, 404: Problem('not_found') },
      handle: (request) => {
        const dryRun = request.query.dryRun === true
        const work = async (tx: Queryable, at: number) => {
          const zone = zoneOf(request)
          const found = await findBudget(tx, zone, request.params.id)
          if (found === undefined) return refuse('not_found')
          const archived = await archiveBudget(tx, found, at)
          if (!archived.ok) return archived
          const what = { zone, kind: 'budget', id: found.id, name: found.name, dryRun } as const
          return ok(deletion(what, { revocations: [], events: [], affects: {} }))
        }
        return commitChange(desk, request, work, { dryRun })
      },
    }),
  ]
}

function onlyOne(found: Budget | undefined, holder: string | undefined): Page<Budget> {
  const fits = found !== undefined && (holder === undefined || found.holder === holder)
  return { items: fits ? [found] : [], next: null }
}

/** What the evidence says of a limit. */
function toldOf({ limit, holder }: Budget): Readonly<Record<string, string>> {
  return { holder, limit: 'calls' in limit ? `${limit.calls} calls` : `${limit.amount} ${limit.currency}` }
}

/** The body as a whole budget; its holder is there. */
async function readFields(
  tx: Queryable,
  zone: ZoneId,
  body: Static<typeof BudgetInput>,
): Promise<Result<BudgetFields, 'validation_failed'>> {
  const holder = await findHolder(tx, zone, body.holder)
  const faults = [...budgetFaults(body)]
  if (holder === undefined) faults.push({ field: 'holder', message: 'there is no such application, session or delegation in the zone' })
  return holder === undefined || faults.length > 0 ? refuseBody(faults) : ok(budgetFields(body, holder))
}

async function findHolder(tx: Queryable, zone: ZoneId, text: string): Promise<BudgetFields['holder'] | undefined> {
  if (isId('application', text)) return (await findApplication(tx, zone, text))?.id
  if (isId('session', text)) return (await findSession(tx, zone, text))?.id
  if (isId('delegation', text)) return (await findDelegation(tx, zone, text))?.id
  // Subjects live nowhere: they are known by their ids.
  if (isHolderId(text)) return text
  return (await findApplicationByName(tx, zone, text))?.id
}
