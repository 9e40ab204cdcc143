import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatAmount, isCurrency, parseAmount } from './money.ts'

describe('money', () => {
  test.each([
    ['0', 0n],
    ['1', 1_000_000n],
    ['0.000001', 1n],
    ['12.50', 12_500_000n],
    ['999999999999.999999', 999_999_999_999_999_999n],
  ])('%s is %s millionths', (text, micros) => {
    expect(parseAmount(text)).toBe(micros)
  })

  test.each(['', ' 1', '1 ', '-1', '+1', '01', '1.', '.5', '1e3', '1,5', '0.0000001', '1000000000000', '0x10', 'NaN', 'Infinity', '１'])(
    '%j is no amount',
    (text) => {
      expect(parseAmount(text)).toBeUndefined()
    },
  )

  test('an amount and its one spelling are the same, whatever it is, and sums of amounts are exact', () => {
    const micros = fc.bigInt({ min: 0n, max: 999_999_999_999_999_999n })
    fc.assert(fc.property(micros, (amount) => parseAmount(formatAmount(amount)) === amount))
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: 0n, max: 10n ** 15n }), { maxLength: 50 }), (amounts) => {
        const sum = amounts.map(formatAmount).reduce((total, text) => total + (parseAmount(text) ?? 0n), 0n)
        expect(formatAmount(sum)).toBe(formatAmount(amounts.reduce((total, amount) => total + amount, 0n)))
      }),
    )
    expect(formatAmount(-1_500_000n)).toBe('-1.5')
  })

  test('currencies are those of ISO 4217, in capitals', () => {
    expect(['EUR', 'USD', 'JPY', 'KWD'].every(isCurrency)).toBe(true)
    expect(['eur', 'ZZZ', 'EURO', '', 'E'].some(isCurrency)).toBe(false)
  })
})
