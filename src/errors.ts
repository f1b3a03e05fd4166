/**
 * One family of errors. Each carries a stable `code` to switch on, `details` for programs, and a `hint` for people:
 * what was expected, what came, where, and what to do.
 */
import { printable, warningLine } from './messages/one-line.js';
import { redactCause, redactDeep } from './messages/redact-values.js';
import { redact, redactAddresses } from './messages/secrets.js';

/** Where in the library an error was found; the class tells the same, the string survives JSON. */
export type TuneErrorCode = 'CONFIG' | 'DATA' | 'IMAGE' | 'TEXT' | 'CHECKPOINT' | 'ENGINE' | 'TRAINING' | 'HUB';

/** Between an error's message and its hint. */
const HINT = '\n  hint: ';

/** What an error carries beside its code and message. */
export interface TuneErrorOptions {
  /** What the user can do about it, one sentence. */
  hint?: string;
  /** Machine-readable facts: paths, shapes, expected and received values. */
  details?: Record<string, unknown>;
  /** The error that led to this one; `cause` of `Error`. */
  cause?: unknown;
}

/** The base of every error that this package throws on purpose. */
export class TuneError extends Error {
  /** Of the class. */
  override readonly name: string = 'TuneError';
  /** Which kind of error it is, for programs. */
  readonly code: TuneErrorCode;
  /** What to do about it; also the end of `message`. */
  readonly hint: string | undefined;
  /** Facts for programs: paths, numbers, names of samples. */
  readonly details: Record<string, unknown>;

  constructor(code: TuneErrorCode, message: string, options: TuneErrorOptions = {}) {
    // The one place: whatever a server has echoed on its way into an error ends here, and so does what a terminal obeys.
    const clean = code === 'HUB' ? redactAddresses : redact;
    const { details = {} } = options;
    // A hint is this package's own words, and may show the form of an address with a password.
    const hint = options.hint === undefined ? undefined : shown(redact(options.hint), details);
    const cause = options.cause === undefined ? {} : { cause: shownCause(redactCause(options.cause, clean)) };
    super(shown(clean(message), details) + (hint ? `${HINT}${hint}` : ''), cause);
    this.code = code;
    this.hint = hint;
    this.details = redactDeep(details, clean) as Record<string, unknown>;
  }
}

/** An error's message alone, for one that says more: of a TuneError what stands before the hint. */
export function withoutHint({ message }: Error): string {
  return message.split(HINT)[0]!;
}

/**
 * A text that may go to a terminal or a log, whatever names it quotes. Line ends are the messages' own: names among
 * `details` that have some lose them.
 */
function shown(text: string, details: Readonly<Record<string, unknown>> = {}): string {
  let safe = text;
  for (const [key, value] of Object.entries(details)) {
    for (const name of [value].flat().slice(0, MAX_DETAILS)) {
      if (typeof name !== 'string' || !/[\r\n]/.test(name) || name.trim() === '') continue;
      if (NAMES.test(key) || !OWN_LINES.test(name)) safe = safe.replaceAll(name, () => warningLine(name));
    }
  }
  const lines = safe.split('\n').map((line) => (line.length > MAX_LINE ? `${line.slice(0, MAX_LINE)}…` : line));
  return printable(lines.join('\n'));
}

/** Details that are names, and those of the others that are messages with lines of their own. */
const NAMES = /path|name|sample|file|dir|entry|class|column|folder|key|label/i;
const OWN_LINES = /\n {2}(- |hint: |and )/;
const MAX_LINE = 2000;
const MAX_DETAILS = 100;

/**
 * An error that another package or the system made, as its reader may see it: what nobody catches is printed by Node with
 * the stacks of its causes. Its class and its other fields stay.
 */
function shownCause(cause: unknown, depth = 0): unknown {
  const isForeign = cause instanceof Error && !(cause instanceof TuneError || cause instanceof DOMException);
  if (!isForeign || depth === MAX_CAUSES) return cause;
  const inner = shownCause(cause.cause, depth + 1);
  const message = printable(String(cause.message));
  // The stack, which takes time to make, begins with the message.
  if (message === cause.message && inner === cause.cause) return cause;
  const stack = printable(String(cause.stack ?? message));
  const hidden = (value: unknown) => ({ value, configurable: true, writable: true });
  return Object.create(cause, { message: hidden(message), stack: hidden(stack), cause: hidden(inner) });
}

const MAX_CAUSES = 5;

/** An option or a configuration file is wrong. One error lists every fault. */
export class ConfigError extends TuneError {
  override readonly name = 'ConfigError';
  constructor(message: string, options?: TuneErrorOptions) {
    super('CONFIG', message, options);
  }
}

/** A data set or a sample is wrong: missing folder, empty split, over-long sample, no label. */
export class DataError extends TuneError {
  override readonly name = 'DataError';
  constructor(message: string, options?: TuneErrorOptions) {
    super('DATA', message, options);
  }
}

/** A picture cannot be decoded; `details.path` names it. */
export class ImageError extends TuneError {
  override readonly name = 'ImageError';
  constructor(message: string, options?: TuneErrorOptions) {
    super('IMAGE', message, options);
  }
}

/** A tokenizer, chat template or conversation is wrong. */
export class TextError extends TuneError {
  override readonly name = 'TextError';
  constructor(message: string, options?: TuneErrorOptions) {
    super('TEXT', message, options);
  }
}

/** A model, adapter or training checkpoint cannot be read or written. */
export class CheckpointError extends TuneError {
  override readonly name = 'CheckpointError';
  constructor(message: string, options?: TuneErrorOptions) {
    super('CHECKPOINT', message, options);
  }
}

/** An engine cannot be made, or ran out of something. */
export class EngineError extends TuneError {
  override readonly name = 'EngineError';
  constructor(message: string, options?: TuneErrorOptions) {
    super('ENGINE', message, options);
  }
}

/** Training cannot go on: a non-finite loss, nothing trainable, no labels. */
export class TrainingError extends TuneError {
  override readonly name = 'TrainingError';
  constructor(message: string, options?: TuneErrorOptions) {
    super('TRAINING', message, options);
  }
}

/** A download or an upload failed. */
export class HubError extends TuneError {
  override readonly name = 'HubError';
  constructor(message: string, options?: TuneErrorOptions) {
    super('HUB', message, options);
  }
}
