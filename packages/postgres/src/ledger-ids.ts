/** What blocks keep of an id (a TypeID, `evt_…`): the millisecond it was made, four bytes to know it by, and a number to index it by. */

/** Ids of one bucket were made in the same 8,192 ms. */
const BUCKET_BITS = 13

const TYPE_ID = /^[a-z]{3}_[0-7][0-9a-hjkmnp-tv-z]{25}$/
const SUFFIX_AT = 4

const DIGITS = new Uint8Array(128)
for (const [value, digit] of [...'0123456789abcdefghjkmnpqrstvwxyz'].entries()) DIGITS[digit.charCodeAt(0)] = value

export function isTypeId(text: string): boolean {
  return text.length === 30 && TYPE_ID.test(text)
}

/** The number that characters [from, to) stand for, at most 32 bits of it. */
function digits(id: string, from: number, to: number): number {
  let value = 0
  for (let at = from; at < to; at += 1) value = (value << 5) | (DIGITS[id.charCodeAt(at) & 127] as number)
  return value
}

/** Unix milliseconds in an id (RFC 9562 §5.7), exact to 48 bits. */
export function millisOfId(id: string): number {
  return digits(id, SUFFIX_AT, SUFFIX_AT + 5) * 2 ** 25 + digits(id, SUFFIX_AT + 5, SUFFIX_AT + 10)
}

export function bucketOf(millis: number): number {
  return Math.floor(millis / 2 ** BUCKET_BITS)
}

/** The last 32 bits of an id, which are random: two ids with one mark are rare, and the text decides. */
export function markOfId(id: string): number {
  return digits(id, SUFFIX_AT + 19, SUFFIX_AT + 26) >>> 0
}

/** The first 63 bits of an id, as the term of a block whose bucket it is not of. */
export function termOfId(id: string): bigint {
  return (BigInt(millisOfId(id)) << 15n) | BigInt(digits(id, SUFFIX_AT + 10, SUFFIX_AT + 13))
}

/** Marks as they are stored: four bytes each, most significant first. */
export function encodeMarks(marks: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(marks.length * 4)
  for (let i = 0; i < marks.length; i += 1) bytes.writeUInt32BE(marks[i] ?? 0, i * 4)
  return bytes
}

export function decodeMarks(marks: Uint8Array): readonly number[] {
  const view = new DataView(marks.buffer, marks.byteOffset, marks.byteLength)
  return Array.from({ length: Math.floor(marks.length / 4) }, (_, i) => view.getUint32(i * 4))
}

export function hasMark(marks: Uint8Array, mark: number): boolean {
  return decodeMarks(marks).includes(mark)
}
