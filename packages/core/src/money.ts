/** Millionths of a currency's unit. Money is only ever counted in these whole numbers. */
export type Micros = bigint

/** An exact amount: a decimal with at most six places, and an ISO 4217 code. */
export type Money = { readonly amount: string; readonly currency: string }

/** A decimal that `parseAmount` takes: no sign, no exponent, no leading zeros, at most 12 digits before the point and six after it. */
export const AMOUNT = /^(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,6})?$/

const UNIT = 1_000_000n
const CURRENCIES: ReadonlySet<string> = new Set(Intl.supportedValuesOf('currency'))

/** The amount in millionths, exact; undefined when it is not a decimal of this form. */
export function parseAmount(text: string): Micros | undefined {
  if (!AMOUNT.test(text)) return undefined
  const [whole = '0', fraction = ''] = text.split('.')
  return BigInt(whole) * UNIT + BigInt(fraction.padEnd(6, '0'))
}

/** The one spelling of an amount: no zeros at the end. Below zero with a sign. */
export function formatAmount(micros: Micros): string {
  const size = micros < 0n ? -micros : micros
  const fraction = String(size % UNIT)
    .padStart(6, '0')
    .replace(/0+$/, '')
  return `${micros < 0n ? '-' : ''}${size / UNIT}${fraction === '' ? '' : `.${fraction}`}`
}

/** Whether it is a code of ISO 4217, in capitals. */
export function isCurrency(code: string): boolean {
  return CURRENCIES.has(code)
}
