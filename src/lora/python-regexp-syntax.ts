/**
 * Reads a regular expression as Python's `re` does (3.11, whose rules hold to this day): what is an error there is one
 * here, and what JavaScript's RegExp takes for something else keeps its meaning.
 */
import {
  anyCharacter,
  type CharacterTest,
  category,
  DIGITS,
  escapedCode,
  type Flags,
  isWord,
  octalOutsideSet,
  parseSet,
  range,
  Tokens,
} from './python-regexp-tokens.js';

/** Lengths that a piece can match: [shortest, longest]. */
type Width = readonly [number, number];

type PlaceTest = (text: readonly number[], at: number) => boolean;

export type Piece = { readonly width: Width } & ( // `literal` is equal for equal literals.
  | { readonly kind: 'character'; readonly test: CharacterTest; readonly literal?: string }
  | { readonly kind: 'place'; readonly test: PlaceTest }
  | { readonly kind: 'sequence'; readonly pieces: readonly Piece[] }
  | { readonly kind: 'choice'; readonly pieces: readonly Piece[] }
  | { readonly kind: 'group'; readonly index: number | undefined; readonly body: Piece }
  | { readonly kind: 'atomic'; readonly body: Piece }
  | { readonly kind: 'look'; readonly behind: boolean; readonly negative: boolean; readonly body: Piece }
  | {
      readonly kind: 'repeat';
      readonly least: number;
      readonly most: number;
      readonly mode: 'greedy' | 'lazy' | 'possessive';
      readonly body: Piece;
    }
  | { readonly kind: 'reference'; readonly group: number; readonly ignoreCase: boolean }
  | { readonly kind: 'conditional'; readonly group: number; readonly yes: Piece; readonly no: Piece | undefined }
);

type Sequence = Extract<Piece, { kind: 'sequence' }>;

export interface PythonSyntax {
  readonly root: Piece;
  /** Names of groups → their numbers, from 1. */
  readonly names: ReadonlyMap<string, number>;
  /** Count of the groups, with 0, the whole. */
  readonly groups: number;
  /** Whether the flag `i` is on anywhere. */
  readonly ignoresCase: boolean;
}

const MAX_REPEAT = 4_294_967_295;
const MAX_DEPTH = 200;
const NEWLINE = 10;
const NOTHING: Width = [0, 0];

/** @throws SyntaxError if Python would refuse it, or if its meaning is not known here */
export function parsePython(source: string): PythonSyntax {
  return new Parser(source).parse();
}

class Parser {
  readonly #tokens: Tokens;
  readonly #names = new Map<string, number>();
  /** Widths of the groups; undefined while one is open. */
  readonly #widths: (Width | undefined)[] = [NOTHING];
  /** Groups that a conditional asks for by number, which may come later. */
  readonly #asked: number[] = [];
  #globalFlags: Flags = new Set();
  #ignoresCase = false;
  /** First group inside the outermost look-behind that is open. */
  #lookBehindFrom: number | undefined;

  constructor(source: string) {
    this.#tokens = new Tokens(source);
  }

  parse(): PythonSyntax {
    const root = this.#choice(this.#globalFlags, 0);
    if (this.#tokens.next !== undefined) throw new SyntaxError('unbalanced parenthesis )');
    for (const group of this.#asked) if (group >= this.#widths.length) throw new SyntaxError(`no group ${group}`);
    return { root, names: this.#names, groups: this.#widths.length, ignoresCase: this.#ignoresCase };
  }

  #choice(flags: Flags, depth: number): Piece {
    if (depth > MAX_DEPTH) throw new SyntaxError(`groups nested more than ${MAX_DEPTH} deep are not supported`);
    const pieces = [this.#sequence(flags, depth, depth === 0)];
    while (this.#tokens.accept('|')) pieces.push(this.#sequence(depth === 0 ? this.#globalFlags : flags, depth));
    return pieces.length === 1 ? pieces[0]! : either(pieces);
  }

  #sequence(outerFlags: Flags, depth: number, mayHaveFlags = false): Sequence {
    const tokens = this.#tokens;
    const pieces: Piece[] = [];
    let flags = outerFlags;
    for (;;) {
      const token = tokens.next;
      if (token === undefined || token === '|' || token === ')') return sequence(pieces);
      tokens.index++;
      if (flags.has('x')) {
        if (/^[ \t\n\r\v\f]$/.test(token)) continue;
        if (token === '#') {
          while (tokens.next !== undefined && tokens.take() !== '\n');
          continue;
        }
      }
      if (token[0] === '\\') pieces.push(this.#escape(token, flags));
      else if (token === '[') pieces.push(characterOf(parseSet(tokens, flags)));
      else if (token === '.') pieces.push(characterOf(anyCharacter(flags)));
      else if (token === '^') pieces.push(placeOf(startOfLine(flags)));
      else if (token === '$') pieces.push(placeOf(endOfLine(flags)));
      else if ('?*+{'.includes(token)) {
        if (!this.#repeat(token, pieces)) pieces.push(this.#literal(token, flags));
      } else if (token === '(') {
        const found = this.#group(flags, depth, mayHaveFlags && pieces.length === 0);
        if (found === 'flags') flags = this.#globalFlags;
        else if (found !== 'comment') pieces.push(found);
      } else pieces.push(this.#literal(token, flags));
    }
  }

  #literal(token: string, flags: Flags): Piece {
    const code = token.codePointAt(0)!;
    return { ...characterOf(range(code, code, flags)), literal: `${code}${flags.has('i') ? 'i' : ''}` } as Piece;
  }

  #escape(token: string, flags: Flags): Piece {
    const letter = token.slice(1);
    const place = PLACES[letter];
    if (place) return placeOf(place(flags));
    const test = category(token, flags);
    if (test) return characterOf(test);
    if (DIGITS.includes(letter)) {
      const octal = octalOutsideSet(token, this.#tokens);
      if (octal !== undefined) return characterOf(range(octal, octal, flags));
      return this.#reference(Number(letter + this.#tokens.takeWhile(DIGITS, 1)), flags);
    }
    const code = escapedCode(token, this.#tokens);
    if (code === undefined) throw new SyntaxError(`bad escape ${token}`);
    return this.#literal(String.fromCodePoint(code), flags);
  }

  #reference(group: number, flags: Flags): Piece {
    if (group >= this.#widths.length) throw new SyntaxError(`no group ${group} to refer to`);
    this.#requireClosed(group);
    return { kind: 'reference', group, ignoreCase: flags.has('i'), width: this.#widths[group]! };
  }

  #requireClosed(group: number): void {
    if (this.#widths[group] === undefined) throw new SyntaxError(`cannot refer to the open group ${group}`);
    this.#requireOutside(group);
  }

  #requireOutside(group: number): void {
    if (this.#lookBehindFrom === undefined) return;
    if (this.#widths[group] === undefined) throw new SyntaxError(`cannot refer to the open group ${group}`);
    if (group >= this.#lookBehindFrom) {
      throw new SyntaxError(`cannot refer to group ${group} of the same look-behind`);
    }
  }

  /** Puts a repetition around the last piece. False if `{` is a character here. */
  #repeat(token: string, pieces: Piece[]): boolean {
    const bounds = token === '{' ? this.#bounds() : { '?': [0, 1], '*': [0, MAX_REPEAT], '+': [1, MAX_REPEAT] }[token]!;
    if (!bounds) return false;
    const [least, most] = bounds as [number, number];
    const body = pieces.at(-1);
    if (!body || body.kind === 'place') throw new SyntaxError(`nothing to repeat before ${token}`);
    if (body.kind === 'repeat') throw new SyntaxError(`two repetitions in a row, ${token} being the second`);
    const mode = this.#tokens.accept('?') ? 'lazy' : this.#tokens.accept('+') ? 'possessive' : 'greedy';
    const [low, high] = body.width;
    pieces[pieces.length - 1] = { kind: 'repeat', least, most, mode, body, width: [low * least, high * most] };
    return true;
  }

  /** `2}`, `2,}`, `,3}`, `2,3}` and `,}` after a `{`; anything else makes that a character. */
  #bounds(): [number, number] | undefined {
    const tokens = this.#tokens;
    const start = tokens.index;
    if (tokens.next === '}') return undefined;
    const low = tokens.takeWhile(DIGITS);
    const high = tokens.accept(',') ? tokens.takeWhile(DIGITS) : low;
    if (!tokens.accept('}')) {
      tokens.index = start;
      return undefined;
    }
    const [least, most] = [Number(low || 0), high === '' ? MAX_REPEAT : Number(high)];
    if ((low !== '' && least >= MAX_REPEAT) || (high !== '' && most >= MAX_REPEAT)) {
      throw new SyntaxError('the number of repetitions is too large');
    }
    if (most < least) throw new SyntaxError(`{${low},${high}} repeats at most less often than at least`);
    return [least, most];
  }

  /** The rest of a group after `(`, with the `)`. */
  #group(flags: Flags, depth: number, mayHaveFlags: boolean): Piece | 'flags' | 'comment' {
    const tokens = this.#tokens;
    if (!tokens.accept('?')) return this.#capture(undefined, flags, depth);
    const kind = tokens.take();
    if (kind === undefined) throw new SyntaxError('the expression ends after (?');
    switch (kind) {
      case 'P':
        return this.#named(flags, depth);
      case '>':
        return this.#closed({ kind: 'atomic' }, flags, depth);
      case '#':
        tokens.index--;
        tokens.takeUntil(')', 'comment');
        return 'comment';
      case '=':
      case '!':
        return this.#closed({ kind: 'look', behind: false, negative: kind === '!' }, flags, depth);
      case '<':
        return this.#lookBehind(flags, depth);
      case '(':
        return this.#conditional(flags, depth);
      default:
        return this.#flagGroup(kind, flags, depth, mayHaveFlags);
    }
  }

  #close(): void {
    if (!this.#tokens.accept(')')) throw new SyntaxError('missing )');
  }

  #closed(
    head:
      | { readonly kind: 'group'; readonly index: undefined }
      | { readonly kind: 'atomic' }
      | { readonly kind: 'look'; readonly behind: boolean; readonly negative: boolean },
    flags: Flags,
    depth: number,
  ): Piece {
    const body = this.#choice(flags, depth + 1);
    this.#close();
    return { ...head, body, width: head.kind === 'look' ? NOTHING : body.width };
  }

  #capture(name: string | undefined, flags: Flags, depth: number): Piece {
    const index = this.#widths.length;
    this.#widths.push(undefined);
    if (name !== undefined) {
      if (this.#names.has(name)) throw new SyntaxError(`two groups are called ${name}`);
      this.#names.set(name, index);
    }
    const body = this.#choice(flags, depth + 1);
    this.#close();
    this.#widths[index] = body.width;
    return { kind: 'group', index, body, width: body.width };
  }

  #named(flags: Flags, depth: number): Piece {
    if (this.#tokens.accept('<')) return this.#capture(groupName(this.#tokens.takeUntil('>', 'name')), flags, depth);
    if (!this.#tokens.accept('=')) throw new SyntaxError(`unknown group (?P${this.#tokens.next ?? ''}`);
    const name = groupName(this.#tokens.takeUntil(')', 'name'));
    const group = this.#names.get(name);
    if (group === undefined) throw new SyntaxError(`no group is called ${name}`);
    return this.#reference(group, flags);
  }

  #lookBehind(flags: Flags, depth: number): Piece {
    const sign = this.#tokens.take();
    if (sign !== '=' && sign !== '!') {
      throw new SyntaxError(`unknown group (?<${sign ?? ''}: Python writes (?P<name>…), (?<=…) and (?<!…)`);
    }
    const outer = this.#lookBehindFrom;
    this.#lookBehindFrom ??= this.#widths.length;
    const piece = this.#closed({ kind: 'look', behind: true, negative: sign === '!' }, flags, depth);
    this.#lookBehindFrom = outer;
    const [low, high] = (piece as Extract<Piece, { kind: 'look' }>).body.width;
    if (low !== high) throw new SyntaxError('a look-behind needs a pattern of one length');
    return piece;
  }

  #conditional(flags: Flags, depth: number): Piece {
    const tokens = this.#tokens;
    const name = tokens.takeUntil(')', 'group');
    let group: number | undefined;
    if (/^[0-9]+$/.test(name)) {
      group = Number(name);
      if (group === 0) throw new SyntaxError('there is no group 0 to ask for');
      this.#asked.push(group);
    } else {
      group = this.#names.get(groupName(name));
      if (group === undefined) throw new SyntaxError(`no group is called ${name}`);
    }
    this.#requireOutside(group);
    if (depth > MAX_DEPTH) throw new SyntaxError(`groups nested more than ${MAX_DEPTH} deep are not supported`);
    const yes = this.#sequence(flags, depth + 1);
    const no = tokens.accept('|') ? this.#sequence(flags, depth + 1) : undefined;
    if (tokens.next === '|') throw new SyntaxError('a conditional group has more than two branches');
    this.#close();
    const [low, high] = no?.width ?? NOTHING;
    const width: Width = [Math.min(yes.width[0], low), Math.max(yes.width[1], high)];
    return { kind: 'conditional', group, yes, no, width };
  }

  /** `(?i)`, `(?i:…)`, `(?s-i:…)` and `(?:…)`, from the first letter on. */
  #flagGroup(first: string, flags: Flags, depth: number, mayHaveFlags: boolean): Piece | 'flags' {
    const tokens = this.#tokens;
    const on: string[] = [];
    const off: string[] = [];
    let letter: string | undefined = first;
    for (; letter !== ')' && letter !== ':' && letter !== '-'; letter = tokens.take()) on.push(flagLetter(letter));
    if (on.includes('a') && on.includes('u')) throw new SyntaxError('the flags a and u exclude each other');
    if (letter === ')') {
      if (!mayHaveFlags) throw new SyntaxError(`the flags (?${on.join('')}) are not at the start`);
      const all = new Set([...this.#globalFlags, ...on]);
      if (all.has('a') && all.has('u')) throw new SyntaxError('the flags a and u exclude each other');
      this.#globalFlags = this.#changed(all, [], []);
      return 'flags';
    }
    if (letter === '-') {
      letter = tokens.take();
      do {
        off.push(flagLetter(letter));
        letter = tokens.take();
      } while (letter !== ':');
    }
    if (off.some((flag) => flag === 'a' || flag === 'u'))
      throw new SyntaxError('the flags a and u cannot be turned off');
    if (on.some((flag) => off.includes(flag))) throw new SyntaxError('a flag is turned on and off at once');
    return this.#closed({ kind: 'group', index: undefined }, this.#changed(flags, on, off), depth);
  }

  #changed(flags: Flags, on: readonly string[], off: readonly string[]): Flags {
    const changed = new Set(flags);
    if (on.includes('u')) changed.delete('a');
    for (const flag of on) changed.add(flag);
    for (const flag of off) changed.delete(flag);
    this.#ignoresCase ||= changed.has('i');
    return changed;
  }
}

function flagLetter(letter: string | undefined): string {
  if (letter !== undefined && 'aimsux'.includes(letter)) return letter;
  if (letter === 'L') throw new SyntaxError('the flag L is for bytes, not for text');
  throw new SyntaxError(`unknown group or flag (?${letter ?? ''}`);
}

function groupName(name: string): string {
  if (/^[\p{XID_Start}_]\p{XID_Continue}*$/u.test(name)) return name;
  throw new SyntaxError(`bad character in the name of the group ${JSON.stringify(name)}`);
}

function sequence(pieces: readonly Piece[]): Sequence {
  const sum = (side: 0 | 1): number => pieces.reduce((total, piece) => total + piece.width[side], 0);
  return { kind: 'sequence', pieces, width: [sum(0), sum(1)] };
}

function either(pieces: readonly Sequence[]): Piece {
  const low = pieces.reduce((least, piece) => Math.min(least, piece.width[0]), Number.POSITIVE_INFINITY);
  const high = pieces.reduce((most, piece) => Math.max(most, piece.width[1]), 0);
  return { kind: 'choice', pieces: withSharedStarts(pieces), width: [low, high] };
}

/** Neighbours that start with the same literals are tried together, so that a long list of names costs little. */
function withSharedStarts(branches: readonly Sequence[]): readonly Piece[] {
  const shared: Piece[] = [];
  for (let first = 0; first < branches.length; ) {
    let end = first + 1;
    let length = Number.POSITIVE_INFINITY;
    while (end < branches.length) {
      const common = commonStart(branches[end - 1]!, branches[end]!, length);
      if (common === 0) break;
      length = common;
      end++;
    }
    const group = branches.slice(first, end);
    if (group.length === 1) shared.push(group[0]!);
    else {
      const rest = group.map(({ pieces }) => sequence(pieces.slice(length)));
      shared.push(sequence([...group[0]!.pieces.slice(0, length), either(rest)]));
    }
    first = end;
  }
  return shared;
}

function literalAt({ pieces }: Sequence, at: number): string | undefined {
  const found = pieces[at];
  return found?.kind === 'character' ? found.literal : undefined;
}

function commonStart(a: Sequence, b: Sequence, most: number): number {
  let length = 0;
  while (length < most && literalAt(a, length) !== undefined && literalAt(a, length) === literalAt(b, length)) length++;
  return length;
}

const characterOf = (test: CharacterTest): Piece => ({ kind: 'character', test, width: [1, 1] });
const placeOf = (test: PlaceTest): Piece => ({ kind: 'place', test, width: NOTHING });

const atStart: PlaceTest = (_, at) => at === 0;
const atEnd: PlaceTest = (text, at) => at === text.length;

function startOfLine(flags: Flags): PlaceTest {
  return flags.has('m') ? (text, at) => at === 0 || text[at - 1] === NEWLINE : atStart;
}

/** Python's `$` also matches before a line end that is the last character. */
function endOfLine(flags: Flags): PlaceTest {
  if (flags.has('m')) return (text, at) => at === text.length || text[at] === NEWLINE;
  return (text, at) => at === text.length || (at === text.length - 1 && text[at] === NEWLINE);
}

function wordBoundary(flags: Flags, wanted: boolean): PlaceTest {
  const word = (code: number | undefined): boolean => code !== undefined && isWord(code, flags);
  return (text, at) => text.length > 0 && (word(text[at - 1]) !== word(text[at])) === wanted;
}

/** `\z` is the newest Python's name of `\Z`. */
const PLACES: Readonly<Record<string, (flags: Flags) => PlaceTest>> = {
  A: () => atStart,
  Z: () => atEnd,
  z: () => atEnd,
  b: (flags) => wordBoundary(flags, true),
  B: (flags) => wordBoundary(flags, false),
};
