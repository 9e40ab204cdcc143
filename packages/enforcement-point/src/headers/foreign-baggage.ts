/** `caracal`, or anything below that name, also where a letter is spelled `%63`. */
const OURS = /^(?:c|%63|%43)(?:a|%61|%41)(?:r|%72|%52)(?:a|%61|%41)(?:c|%63|%43)(?:a|%61|%41)(?:l|%6c|%4c)(?:[._-]|%2e|%2d|%5f|$)/i

/**
 * The members of a W3C Baggage field that are not in our name: what a caller says of sessions and mandates there was verified by nobody,
 * and what is ours is not the upstream's to know (P-150). Empty when none is left.
 */
export function foreignBaggage(field: string): string {
  return field
    .split(',')
    .map((member) => member.trim())
    .filter((member) => member !== '' && !OURS.test((member.split(/[=;]/)[0] ?? '').trim()))
    .join(',')
}
