/**
 * One family of errors. Each carries a stable `code` to switch on, `details` for programs, and a `hint` for people:
 * what was expected, what came, where, and what to do.
 */
import { redact, redactAddresses, redactCause, redactDeep } from './secrets.js';

/** Where in the library an error was found; the class tells the same, the string survives JSON. */
export type TuneErrorCode = 'CONFIG' | 'DATA' | 'IMAGE' | 'TEXT' | 'CHECKPOINT' | 'ENGINE' | 'TRAINING' | 'HUB';

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
    // The one place: whatever a server has echoed on its way into an error ends here.
    const clean = code === 'HUB' ? redactAddresses : redact;
    // A hint is this package's own words, and may show the form of an address with a password.
    const hint = options.hint === undefined ? undefined : redact(options.hint);
    const whole = hint ? `${clean(message)}\n  hint: ${hint}` : clean(message);
    const cause = options.cause === undefined ? {} : { cause: redactCause(options.cause, clean) };
    super(printable(whole), cause);
    this.code = code;
    this.hint = hint;
    this.details = redactDeep(options.details ?? {}, clean) as Record<string, unknown>;
  }
}

/**
 * A text that may go to a terminal or a log: names of files and tensors are often those of strangers, and may hold
 * escape sequences, marks that turn the direction of writing, or a megabyte. Line ends are the messages' own.
 */
function printable(text: string): string {
  return text
    .split('\n')
    .map((line) => (line.length > MAX_LINE ? `${line.slice(0, MAX_LINE)}…` : line))
    .join('\n')
    .replace(UNPRINTABLE, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

const MAX_LINE = 2000;

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it is about
const UNPRINTABLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g;

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
