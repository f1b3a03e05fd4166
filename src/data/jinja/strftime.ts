/** `strftime`, in English as Python's default locale has it. */
import { unsupported } from './error.js';

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const MONTHS = 'January February March April May June July August September October November December'.split(' ');

const pad = (number: number, width = 2, fill = '0'): string => String(number).padStart(width, fill);

function dayOfYear(time: Date): number {
  return Math.round(
    (Date.UTC(time.getFullYear(), time.getMonth(), time.getDate()) - Date.UTC(time.getFullYear(), 0, 1)) / 86_400_000,
  );
}

/** ISO 8601: the week, and the year to which it belongs. */
function isoWeek(time: Date): [number, number] {
  const thursday = new Date(Date.UTC(time.getFullYear(), time.getMonth(), time.getDate() + 4 - (time.getDay() || 7)));
  const year = thursday.getUTCFullYear();
  return [Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / 604_800_000) + 1, year];
}

const hour12 = (time: Date): number => time.getHours() % 12 || 12;

/** Numbers with their width and fill, and texts. */
const DIRECTIVES: Readonly<
  Record<string, (time: Date) => string | readonly [number, number] | readonly [number, number, string]>
> = {
  Y: (time) => [time.getFullYear(), 1],
  C: (time) => [Math.floor(time.getFullYear() / 100), 2],
  y: (time) => [time.getFullYear() % 100, 2],
  G: (time) => [isoWeek(time)[1], 1],
  g: (time) => [isoWeek(time)[1] % 100, 2],
  m: (time) => [time.getMonth() + 1, 2],
  d: (time) => [time.getDate(), 2],
  e: (time) => [time.getDate(), 2, ' '],
  H: (time) => [time.getHours(), 2],
  k: (time) => [time.getHours(), 2, ' '],
  I: (time) => [hour12(time), 2],
  l: (time) => [hour12(time), 2, ' '],
  M: (time) => [time.getMinutes(), 2],
  S: (time) => [time.getSeconds(), 2],
  j: (time) => [dayOfYear(time) + 1, 3],
  u: (time) => [time.getDay() || 7, 1],
  w: (time) => [time.getDay(), 1],
  U: (time) => [Math.floor((dayOfYear(time) + 7 - time.getDay()) / 7), 2],
  W: (time) => [Math.floor((dayOfYear(time) + 7 - ((time.getDay() + 6) % 7)) / 7), 2],
  V: (time) => [isoWeek(time)[0], 2],
  b: (time) => MONTHS[time.getMonth()]!.slice(0, 3),
  h: (time) => MONTHS[time.getMonth()]!.slice(0, 3),
  B: (time) => MONTHS[time.getMonth()]!,
  a: (time) => DAYS[time.getDay()]!.slice(0, 3),
  A: (time) => DAYS[time.getDay()]!,
  p: (time) => (time.getHours() < 12 ? 'AM' : 'PM'),
  P: (time) => (time.getHours() < 12 ? 'am' : 'pm'),
  // Python's local times know of no zone.
  z: () => '',
  Z: () => '',
  n: () => '\n',
  t: () => '\t',
  '%': () => '%',
};

const COMPOSED: Readonly<Record<string, string>> = {
  c: '%a %b %e %H:%M:%S %Y',
  D: '%m/%d/%y',
  x: '%m/%d/%y',
  F: '%Y-%m-%d',
  T: '%H:%M:%S',
  X: '%H:%M:%S',
  R: '%H:%M',
  r: '%I:%M:%S %p',
};

/** @throws TextError for directives that depend on more than the time and English */
export function formatTime(time: Date, format: string): string {
  return format.replace(/%([-_0^#]*)(\d*)([\s\S]?)/gu, (whole, flags: string, width: string, name: string) => {
    if (name === '') return whole;
    const composed = COMPOSED[name];
    if (composed && !flags && !width) return formatTime(time, composed);
    const directive = DIRECTIVES[name];
    if (!directive && !/[a-zA-Z+]/.test(name) && !flags && !width) return whole;
    if (!directive && /[qQJKLNOiovf]/.test(name) && name !== 'f' && name !== 'O' && !flags && !width) return whole;
    if (!directive || width || /[\^#]/.test(flags) || flags.length > 1) {
      throw unsupported(`the directive ${whole} of strftime_now`);
    }
    const part = directive(time);
    if (typeof part === 'string') {
      if (flags) throw unsupported(`the directive ${whole} of strftime_now`);
      return part;
    }
    const [number, digits, fill = '0'] = part;
    if (flags === '-') return String(number);
    return pad(number, digits, flags === '_' ? ' ' : flags === '0' ? '0' : fill);
  });
}
