/** Other scripts in the letters of the stroke font, where a machine has no font for them. */
import { hasStrokes } from './font.js';

const CYRILLIC: Readonly<Record<string, string>> = {
  ...{ а: 'a', б: 'b', в: 'v', г: 'g', д: 'd', е: 'e', ж: 'zh', з: 'z', и: 'i', к: 'k', л: 'l', м: 'm', н: 'n' },
  ...{ о: 'o', п: 'p', р: 'r', с: 's', т: 't', у: 'u', ф: 'f', х: 'kh', ц: 'ts', ч: 'ch', ш: 'sh', щ: 'shch' },
  ...{ ъ: '"', ы: 'y', ь: "'", э: 'e', ю: 'yu', я: 'ya', і: 'i', є: 'ye', ґ: 'g', ђ: 'dj', ј: 'j', љ: 'lj' },
  ...{ њ: 'nj', ћ: 'c', џ: 'dz', ѕ: 'dz', ў: 'u', қ: 'q', ғ: 'gh', ң: 'ng', ү: 'u', ұ: 'u', һ: 'h', ә: 'a', ө: 'o' },
};

const GREEK: Readonly<Record<string, string>> = {
  ...{ α: 'a', β: 'b', γ: 'g', δ: 'd', ε: 'e', ζ: 'z', η: 'i', θ: 'th', ι: 'i', κ: 'k', λ: 'l', μ: 'm', ν: 'n' },
  ...{ ξ: 'x', ο: 'o', π: 'p', ρ: 'r', σ: 's', ς: 's', τ: 't', υ: 'y', φ: 'f', χ: 'ch', ψ: 'ps', ω: 'o' },
};

const LATIN: Readonly<Record<string, string>> = {
  ...{ ø: 'o', æ: 'ae', œ: 'oe', ł: 'l', đ: 'd', ð: 'd', þ: 'th', ı: 'i', ħ: 'h', ŋ: 'ng', ŧ: 't', ə: 'e', µ: 'u' },
  ...{ '°': 'o', '²': '2', '³': '3', '±': '+-', '≤': '<=', '≥': '>=', '≠': '!=', '→': '->', '←': '<-', '•': '-' },
  ...{ '«': '"', '»': '"', '、': ',', '。': '.', '（': '(', '）': ')', '：': ':', '，': ',', '№': 'No' },
};

const LETTERS: Readonly<Record<string, string>> = { ...CYRILLIC, ...GREEK, ...LATIN };

/** A text in letters of the stroke font. What has none is written by its code point, so that names stay apart. */
export function transliterate(content: string): string {
  let latin = '';
  let isCode = false;
  for (const character of content.normalize('NFC')) {
    const known = hasStrokes(character) ? character : lettersOf(character);
    if (known === undefined && latin !== '' && !latin.endsWith(' ')) latin += ' ';
    else if (known !== undefined && isCode && known !== ' ') latin += ' ';
    latin += known ?? character.codePointAt(0)!.toString(16).toUpperCase();
    isCode = known === undefined;
  }
  return latin;
}

function lettersOf(character: string): string | undefined {
  // An accent stays where it is.
  const [base = '', ...marks] = character.normalize('NFD');
  if (!marks.every((mark) => /\p{M}/u.test(mark))) return undefined;
  const lower = base.toLowerCase();
  if (!Object.hasOwn(LETTERS, lower)) return undefined;
  const found = LETTERS[lower]!;
  return (lower === base ? found : found[0]!.toUpperCase() + found.slice(1)) + marks.join('');
}
