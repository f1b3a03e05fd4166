/** Numbers as Python prints, rounds and reads them. */
import { JinjaError, unsupported } from './error.js';
import { strip } from './python-text.js';

/** `repr` of a float: JavaScript has the same digits, but writes exponents from elsewhere on. */
export function formatFloat(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value < 0 ? '-inf' : 'inf';
  if (Object.is(value, -0)) return '-0.0';
  const [mantissa, exponent] = value.toExponential().split('e') as [string, string];
  const power = Number(exponent);
  if (power < -4 || power >= 16) {
    return `${mantissa}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`;
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** An integer that is exact: Python has all of them, here they end at 2 ** 53. */
export function checkInteger(value: number): number {
  if (!Number.isSafeInteger(value)) throw unsupported('integers beyond 2 ** 53');
  return value === 0 ? 0 : value;
}

/** With so many decimals; a tie goes to the even digit, as in Python's `round` and formats. */
export function toFixed(value: number, decimals: number): string {
  if (Math.abs(value) >= 1e21 || decimals > 60) throw unsupported('such a large number in a format');
  const exact = Math.abs(value).toFixed(100);
  const cut = exact.indexOf('.') + 1 + decimals;
  const rest = exact.slice(cut);
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  if (!/^50*$/.test(rest)) return sign + Math.abs(value).toFixed(decimals);
  // JavaScript rounds ties up.
  const down = exact.slice(0, cut).replace(/\.$/, '');
  return sign + (Number(down.at(-1)) % 2 === 0 ? down : Math.abs(value).toFixed(decimals));
}

/** Python's `round` of a float to decimals, which may be negative. */
export function roundFloat(value: number, decimals: number): number {
  if (!Number.isFinite(value) || decimals > 22) return value;
  if (decimals >= 0) return Number(toFixed(value, decimals));
  throw unsupported('rounding a float to tens');
}

/** Python's `round` of an integer to tens, hundreds…: ties to even. */
export function roundInteger(value: number, decimals: number): number {
  if (decimals >= 0) return value;
  if (decimals < -15) return 0;
  const unit = 10 ** -decimals;
  const rest = ((value % unit) + unit) % unit;
  const down = value - rest;
  const isUp = rest * 2 > unit || (rest * 2 === unit && (down / unit) % 2 !== 0);
  return checkInteger(isUp ? down + unit : down);
}

export function parseInteger(text: string, base = 10): number | undefined {
  const match = /^([+-]?)(0[bB]_?|0[oO]_?|0[xX]_?)?([\da-zA-Z]+(?:_[\da-zA-Z]+)*)$/.exec(strip(text));
  if (!match) {
    if (/\P{ASCII}/u.test(text) && /^\s*[+-]?[\p{Nd}_]+\s*$/u.test(text)) throw unsupported('digits beyond ASCII');
    return undefined;
  }
  const [, sign, prefix = '', rest] = match;
  const named = { b: 2, o: 8, x: 16 }[prefix[1]?.toLowerCase() ?? ''];
  let digits = rest!.replaceAll('_', '');
  let radix = base;
  if (named !== undefined && (base === 0 || base === named)) radix = named;
  else if (prefix) digits = prefix.replaceAll('_', '') + digits;
  else if (base === 0) {
    radix = 10;
    if (/^0/.test(digits) && /[^0]/.test(digits)) return undefined;
  }
  if (prefix.endsWith('_') && radix === base && named !== base) return undefined;
  if (radix < 2 || radix > 36) throw new JinjaError('int() base must be >= 2 and <= 36, or 0');
  let value = 0;
  for (const digit of digits.toLowerCase()) {
    const number = Number.parseInt(digit, 36);
    if (Number.isNaN(number) || number >= radix) return undefined;
    value = checkInteger(value * radix + number);
  }
  return sign === '-' ? checkInteger(-value) : value;
}

const FLOAT = /^[+-]?(?:\d+(?:_\d+)*(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+(?:_\d+)*)(?:e[+-]?\d+(?:_\d+)*)?$/i;

export function parseFloatText(text: string): number | undefined {
  const plain = strip(text);
  if (FLOAT.test(plain)) return Number(plain.replaceAll('_', ''));
  const word = /^([+-]?)(inf|infinity|nan)$/i.exec(plain);
  if (word) return word[2]!.toLowerCase() === 'nan' ? Number.NaN : word[1] === '-' ? -Infinity : Infinity;
  if (/(?![0-9])\p{Nd}/u.test(plain)) throw unsupported('digits beyond ASCII');
  return undefined;
}
