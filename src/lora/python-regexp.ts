/**
 * Python's regular expressions, as in adapter configurations, matched by backtracking: JavaScript's RegExp has no
 * possessive repetitions, conditionals or inline flags. Meant for names: short texts. Callers bound the time.
 */
import { type Piece, type PythonSyntax, parsePython } from './python-regexp-syntax.js';
import { lowerCase } from './python-regexp-tokens.js';

/** What was found: the texts of the named groups, undefined for a group that took no part. */
export interface PythonMatch {
  readonly groups: Readonly<Record<string, string | undefined>>;
}

type Step = (at: number) => boolean;

interface Run {
  text: readonly number[];
  /** Places where the groups start and end; -1 for unset. */
  readonly starts: number[];
  readonly ends: number[];
}

export class PythonRegExp {
  readonly #syntax: PythonSyntax;
  readonly #run: Run;
  readonly #prefix: Step;
  readonly #whole: Step;

  /** @throws SyntaxError if Python would refuse it, or if its meaning is not known here */
  constructor(source: string) {
    this.#syntax = parsePython(source);
    const unset = (): number[] => new Array<number>(this.#syntax.groups).fill(-1);
    this.#run = { text: [], starts: unset(), ends: unset() };
    this.#prefix = compile(this.#syntax.root, this.#run, () => true);
    this.#whole = compile(this.#syntax.root, this.#run, (at) => at === this.#run.text.length);
  }

  /** As `re.match`: from the start of the text, not always to its end. */
  match(text: string): PythonMatch | undefined {
    return this.#match(text, this.#prefix);
  }

  /** As `re.fullmatch`: the whole text. */
  fullMatch(text: string): PythonMatch | undefined {
    return this.#match(text, this.#whole);
  }

  #match(text: string, step: Step): PythonMatch | undefined {
    const codes = codesOf(text);
    if (this.#syntax.ignoresCase && codes.some((code) => code > 0x7f)) {
      throw new SyntaxError('the flag i with names beyond ASCII is not supported');
    }
    const run = this.#run;
    run.text = codes;
    run.starts.fill(-1);
    run.ends.fill(-1);
    if (!step(0)) return undefined;
    const groups: Record<string, string | undefined> = Object.create(null);
    for (const [name, group] of this.#syntax.names) {
      groups[name] = isSet(run, group) ? slice(codes, run.starts[group]!, run.ends[group]!) : undefined;
    }
    return { groups };
  }
}

let lastText = '';
let lastCodes: readonly number[] = [];

/** One name often meets many patterns in a row. */
function codesOf(text: string): readonly number[] {
  if (text !== lastText) {
    lastCodes = Array.from(text, (character) => character.codePointAt(0)!);
    lastText = text;
  }
  return lastCodes;
}

const slice = (codes: readonly number[], start: number, end: number): string =>
  codes
    .slice(start, end)
    .map((code) => String.fromCodePoint(code))
    .join('');

const isSet = ({ starts, ends }: Run, group: number): boolean => starts[group]! >= 0 && ends[group]! >= starts[group]!;

/** A step that matches this piece and then what follows; it leaves the groups as they were if it fails. */
function compile(piece: Piece, run: Run, next: Step): Step {
  switch (piece.kind) {
    case 'character':
      return (at) => at < run.text.length && piece.test(run.text[at]!) && next(at + 1);
    case 'place':
      return (at) => piece.test(run.text, at) && next(at);
    case 'sequence':
      return piece.pieces.reduceRight((rest, one) => compile(one, run, rest), next);
    case 'choice': {
      const branches = piece.pieces.map((one) => compile(one, run, next));
      return (at) => branches.some((branch) => branch(at));
    }
    case 'group':
      return piece.index === undefined
        ? compile(piece.body, run, next)
        : compileGroup(piece.index, piece.body, run, next);
    case 'atomic': {
      const once = compileOnce(piece.body, run);
      return (at) => {
        const restore = savedGroups(run);
        const end = once(at);
        if (end >= 0 && next(end)) return true;
        restore();
        return false;
      };
    }
    case 'look':
      return compileLook(piece, run, next);
    case 'repeat':
      return compileRepeat(piece, run, next);
    case 'reference':
      return compileReference(piece, run, next);
    case 'conditional': {
      const yes = compile(piece.yes, run, next);
      const no = piece.no ? compile(piece.no, run, next) : next;
      return (at) => (isSet(run, piece.group) ? yes(at) : no(at));
    }
  }
}

function compileGroup(index: number, body: Piece, run: Run, next: Step): Step {
  const { starts, ends } = run;
  const inside = compile(body, run, (at) => {
    const before = ends[index]!;
    ends[index] = at;
    if (next(at)) return true;
    ends[index] = before;
    return false;
  });
  return (at) => {
    const before = starts[index]!;
    starts[index] = at;
    if (inside(at)) return true;
    starts[index] = before;
    return false;
  };
}

/** Where the first match of a piece ends, whatever follows; -1 for none. Groups keep what it found. */
function compileOnce(body: Piece, run: Run): (at: number) => number {
  let end = -1;
  const inside = compile(body, run, (at) => {
    end = at;
    return true;
  });
  return (at) => (inside(at) ? end : -1);
}

function savedGroups(run: Run): () => void {
  const [starts, ends] = [run.starts.slice(), run.ends.slice()];
  return () => {
    for (let i = 1; i < starts.length; i++) {
      run.starts[i] = starts[i]!;
      run.ends[i] = ends[i]!;
    }
  };
}

function compileLook(piece: Extract<Piece, { kind: 'look' }>, run: Run, next: Step): Step {
  const once = compileOnce(piece.body, run);
  const back = piece.behind ? piece.body.width[0] : 0;
  return (at) => {
    const restore = savedGroups(run);
    const found = at >= back && once(at - back) >= 0;
    if (piece.negative) restore();
    if (found !== piece.negative && next(at)) return true;
    restore();
    return false;
  };
}

function compileRepeat(piece: Extract<Piece, { kind: 'repeat' }>, run: Run, next: Step): Step {
  const { body, least, most } = piece;
  if (piece.mode === 'possessive') return compilePossessive(piece, run, next);
  if (body.kind === 'character') return compileCharacters(body.test, piece, run, next);
  // Of the run through the repetition that is under way; each step leaves both as they were if it fails.
  let count = 0;
  let last = -1;
  const more = (at: number, from: number): boolean => {
    const before = last;
    count++;
    last = from;
    if (inside(at)) return true;
    count--;
    last = before;
    return false;
  };
  /** What follows may enter the same repetition anew, inside an outer one. */
  const leave = (at: number): boolean => {
    const turns = count;
    const before = last;
    if (next(at)) return true;
    count = turns;
    last = before;
    return false;
  };
  const loop: Step = (at) => {
    if (count < least) return more(at, last);
    // Like Python, an optional turn is not taken again from the place where the last one began.
    const mayGoOn = count < most && at !== last;
    if (piece.mode === 'lazy') return leave(at) || (mayGoOn && more(at, at));
    return (mayGoOn && more(at, at)) || leave(at);
  };
  const inside = compile(body, run, loop);
  return (at) => {
    const turns = count;
    const before = last;
    count = 0;
    last = -1;
    if (loop(at)) return true;
    count = turns;
    last = before;
    return false;
  };
}

function compileCharacters(
  test: (code: number) => boolean,
  { least, most, mode }: Extract<Piece, { kind: 'repeat' }>,
  run: Run,
  next: Step,
): Step {
  return (at) => {
    const end = Math.min(run.text.length, at + most);
    const first = at + least;
    let reached = at;
    if (mode === 'greedy') {
      while (reached < end && test(run.text[reached]!)) reached++;
      for (; reached >= first; reached--) if (next(reached)) return true;
      return false;
    }
    for (; ; reached++) {
      if (reached >= first && next(reached)) return true;
      if (reached >= end || !test(run.text[reached]!)) return false;
    }
  };
}

/** Each turn is taken as it first matches, and none is given back. */
function compilePossessive({ body, least, most }: Extract<Piece, { kind: 'repeat' }>, run: Run, next: Step): Step {
  const once = compileOnce(body, run);
  return (start) => {
    const restore = savedGroups(run);
    let at = start;
    for (let count = 0, last = -1; count < most && at !== last; count++) {
      const end = once(at);
      if (end < 0) {
        if (count >= least) break;
        restore();
        return false;
      }
      if (count >= least) last = at;
      at = end;
    }
    if (next(at)) return true;
    restore();
    return false;
  };
}

function compileReference(piece: Extract<Piece, { kind: 'reference' }>, run: Run, next: Step): Step {
  const same = piece.ignoreCase
    ? (a: number, b: number): boolean => lowerCase(a) === lowerCase(b)
    : (a: number, b: number): boolean => a === b;
  return (at) => {
    if (!isSet(run, piece.group)) return false;
    const start = run.starts[piece.group]!;
    const length = run.ends[piece.group]! - start;
    if (at + length > run.text.length) return false;
    for (let i = 0; i < length; i++) if (!same(run.text[start + i]!, run.text[at + i]!)) return false;
    return next(at + length);
  };
}
