import { Document, LineCounter, type Node, parseAllDocuments } from 'yaml'
import type { PolicyDocument } from './document.ts'
import { NodeReader } from './node-reader.ts'
import { describeProblems, type PolicyProblem } from './problem.ts'
import { readPolicy } from './read-policy.ts'

/** Parsed, or every problem at once. The refusal is a `Refusal` whose detail lists the problems, one per line. */
export type PolicyParse =
  | { readonly ok: true; readonly value: PolicyDocument }
  | { readonly ok: false; readonly reason: 'validation_failed'; readonly detail: string; readonly problems: readonly PolicyProblem[] }

/** No policy is larger, in UTF-16 units of its text. */
export const MAX_POLICY_TEXT = 512 * 1024

/**
 * One YAML document of kind Policy. `file` is named in the detail. Unknown, duplicate and misspelled keys, wrong types,
 * conditions that do not type-check and everything else wrong is reported at once, with line and column (P-026).
 */
export function parsePolicy(source: string, options: { readonly file?: string } = {}): PolicyParse {
  if (source.length > MAX_POLICY_TEXT) return failed([{ path: '', message: `is larger than ${MAX_POLICY_TEXT} characters` }], options.file)
  const lines = new LineCounter()
  const documents = parseAllDocuments(source, { lineCounter: lines, strict: true, uniqueKeys: false, prettyErrors: false, version: '1.2' })
  if (!Array.isArray(documents) || documents.length === 0) return failed([{ path: '', message: 'is empty' }], options.file)
  if (documents.length > 1) return failed([{ path: '', message: 'holds more than one document' }], options.file)
  const [document] = documents
  const faults = [...(document?.errors ?? []), ...(document?.warnings ?? [])]
  if (faults.length > 0) {
    const problems = faults.map((fault) => {
      const { line, col } = lines.linePos(fault.pos[0])
      return { line, column: col, path: '', message: fault.message }
    })
    return failed(problems, options.file)
  }
  return policyFromNode(document?.contents, lines, options)
}

/**
 * The same for a document that was read as part of a file with several (`parseAllDocuments` with that line counter and
 * `uniqueKeys: false`, so that duplicate keys are reported here with the rest).
 */
export function policyFromNode(node: Node | null | undefined, lines?: LineCounter, options: { readonly file?: string } = {}): PolicyParse {
  return read(new NodeReader(lines), node, 'authored', options.file)
}

/** A stored version: the JSON form of `PolicyDocument`, read as strictly as YAML. */
export function policyFromJson(value: unknown): PolicyParse {
  return read(new NodeReader(undefined), new Document(value, { aliasDuplicateObjects: false }).contents, 'stored')
}

function read(reader: NodeReader, node: Node | null | undefined, form: 'authored' | 'stored', file?: string): PolicyParse {
  const document = readPolicy(reader, { path: '', node }, form)
  if (document === undefined || reader.problems.length > 0) return failed(reader.problems, file)
  return { ok: true, value: document }
}

function failed(problems: readonly PolicyProblem[], file?: string): PolicyParse {
  return { ok: false, reason: 'validation_failed', detail: describeProblems(problems, file), problems }
}
