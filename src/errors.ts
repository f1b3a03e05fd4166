/**
 * One family of errors. Each carries a stable `code` to switch on, typed fields for what programs decide on, `details`
 * for logs, and a `summary` and a `hint` for people: what was expected, what came, where, and what to do.
 */
import { HOMEPAGE } from './generated/version.js';
import { printable, warningLine } from './messages/one-line.js';
import { redactDeep } from './messages/redact-values.js';
import { redact, redactAddresses } from './messages/secrets.js';

/** Where in the library an error was found; the class says the same, the string survives JSON. */
export type TuneErrorCode =
  | 'CONFIG'
  | 'DATA'
  | 'IMAGE'
  | 'TEXT'
  | 'CHECKPOINT'
  | 'ENGINE'
  | 'TRAINING'
  | 'DISTRIBUTED'
  | 'DISK'
  | 'TRANSFER'
  | 'HUB'
  | 'KAGGLE';

/** What an error carries beside its code and message. */
export interface TuneErrorOptions {
  /** What the user can do about it, one sentence. */
  hint?: string | undefined;
  /** Machine-readable facts: paths, shapes, expected and received values. */
  details?: Record<string, unknown>;
  /** The error that led to this one; `cause` of `Error`. */
  cause?: unknown;
}

/**
 * The base of every error that this package throws on purpose.
 * @example
 * ```ts
 * try {
 *   await fromPretrained('mistralai/no-such-model');
 * } catch (error) {
 *   if (!(error instanceof TuneError)) throw error;
 *   console.error(error.code, error.summary, error.hint);
 * }
 * ```
 */
export abstract class TuneError extends Error {
  /** Of the page on troubleshooting: the heading of such errors. */
  protected static readonly helpSection: string = '';
  /** Of the class. */
  override readonly name: string = 'TuneError';
  /** Which kind of error it is, for programs. */
  abstract readonly code: TuneErrorCode;
  /** What is wrong, without the hint; `message` has both. */
  readonly summary: string;
  /** What to do about it; in `message` it follows the summary, and `helpUrl` follows it. */
  readonly hint: string | undefined;
  /** Address of what the documentation says about errors of this kind. */
  readonly helpUrl: string;
  /** Facts for programs: paths, sizes, names of samples. */
  readonly details: Record<string, unknown>;

  constructor(message: string, options: TuneErrorOptions = {}) {
    // The one place where secrets that a server echoed, and control characters, are taken out.
    const clean = (text: string) => new.target.prototype.clean(text);
    const { details = {} } = options;
    const summary = shown(clean(message), details);
    // A hint is this package's own words, and may show the form of an address with a password.
    const hint = options.hint === undefined ? undefined : shown(redact(options.hint), details);
    const cause = options.cause === undefined ? {} : { cause: shownCause(redactDeep(options.cause, clean)) };
    const helpUrl = `${TROUBLESHOOTING}#${new.target.helpSection}`;
    super(summary + (hint ? `\n  hint: ${hint}\n  see ${helpUrl}` : ''), cause);
    this.summary = summary;
    this.hint = hint;
    this.helpUrl = helpUrl;
    this.details = redactDeep(details, clean) as Record<string, unknown>;
  }

  /** The same error with other words, details or fields. Its cause is this one. */
  with(changes: Partial<this>): this {
    const Class = this.constructor as new (message: string, options: object) => this;
    const fields = { ...this, cause: this, ...changes };
    return new Class(fields.summary, fields);
  }

  /** A text without secrets. */
  protected clean(text: string): string {
    return redact(text);
  }

  /** A text for a field of a subclass, as safe to show as the message is. */
  protected safe<T extends string | undefined>(text: T): T {
    return (text === undefined ? text : shown(this.clean(text))) as T;
  }

  /** For JSON.stringify, which leaves the message of an Error out. */
  toJSON(): Record<string, unknown> {
    return { message: this.message, ...(this as object) };
  }
}

/** Page of the documentation with a section for each code; a test compares its headings. */
const TROUBLESHOOTING = `${HOMEPAGE}troubleshooting.html`;

/** What an error says in one line, for a message that quotes it: no hint, and no list. */
export function reasonOf(error: unknown): string {
  const text = error instanceof TuneError ? error.summary : error instanceof Error ? error.message : String(error);
  return text.trim().split('\n', 1)[0]!;
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
const OWN_LINES = /\n {2}(- |hint: |see |and )/;
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
  protected static override readonly helpSection = 'config';
  override readonly name = 'ConfigError';
  readonly code = 'CONFIG';
}

/** A data set or a sample is wrong: missing folder, empty split, over-long sample, no label. */
export class DataError extends TuneError {
  protected static override readonly helpSection = 'data';
  override readonly name: string = 'DataError';
  readonly code = 'DATA';
}

/** What an ImageError carries beside its message. */
export type ImageErrorOptions = TuneErrorOptions & Partial<Pick<ImageError, 'reason'>>;

/** An image cannot be decoded; `details.path` names it. */
export class ImageError extends TuneError {
  protected static override readonly helpSection = 'image';
  override readonly name = 'ImageError';
  readonly code = 'IMAGE';
  /** The summary without the name of the image, where it begins with one. */
  readonly reason: string;

  constructor(message: string, options: ImageErrorOptions = {}) {
    super(message, options);
    this.reason = this.safe(options.reason) ?? this.summary;
  }
}

/** A tokenizer, chat template or conversation is wrong. */
export class TextError extends TuneError {
  protected static override readonly helpSection = 'text';
  override readonly name: string = 'TextError';
  readonly code = 'TEXT';
}

/** A model, adapter or training checkpoint cannot be read or written. */
export class CheckpointError extends TuneError {
  protected static override readonly helpSection = 'checkpoint';
  override readonly name = 'CheckpointError';
  readonly code = 'CHECKPOINT';
}

/** What an EngineError carries beside its message. */
export type EngineErrorOptions = TuneErrorOptions & Partial<Pick<EngineError, 'status'>>;

/** An engine cannot be made, or ran out of something. */
export class EngineError extends TuneError {
  protected static override readonly helpSection: string = 'engine';
  override readonly name: string = 'EngineError';
  readonly code = 'ENGINE';
  /** What a native library (CUDA's driver, NVRTC, cuBLASLt) returned; undefined for other failures. */
  readonly status: number | undefined;

  constructor(message: string, options: EngineErrorOptions = {}) {
    super(message, options);
    this.status = options.status;
  }
}

/** What an OutOfMemoryError carries beside its message. */
export type OutOfMemoryErrorOptions = EngineErrorOptions &
  Partial<Pick<OutOfMemoryError, 'neededBytes' | 'freeBytes' | 'limitBytes'>>;

/** An engine's memory does not hold what it was asked to hold; the same work in smaller pieces may fit. */
export class OutOfMemoryError extends EngineError {
  protected static override readonly helpSection = 'out-of-memory';
  override readonly name = 'OutOfMemoryError';
  /** What was asked for. Undefined, as the next two, where a library does not say. */
  readonly neededBytes: number | undefined;
  /** What was left of the limit. */
  readonly freeBytes: number | undefined;
  /** What the engine may hold in all: its budget, or the memory that there is. */
  readonly limitBytes: number | undefined;

  constructor(message: string, options: OutOfMemoryErrorOptions = {}) {
    super(message, options);
    this.neededBytes = options.neededBytes;
    this.freeBytes = options.freeBytes;
    this.limitBytes = options.limitBytes;
  }
}

/** Training cannot go on: a non-finite loss, nothing trainable, no labels. */
export class TrainingError extends TuneError {
  protected static override readonly helpSection = 'training';
  override readonly name = 'TrainingError';
  readonly code = 'TRAINING';
}

/** Several processes that train together: one was lost or has failed, they do not find each other, or differ. */
export class DistributedError extends TuneError {
  protected static override readonly helpSection = 'distributed';
  override readonly name = 'DistributedError';
  readonly code = 'DISTRIBUTED';
  /** The rank that caused it; undefined where it is none of the ranks. */
  readonly rank: number | undefined;

  constructor(message: string, options: TuneErrorOptions & { readonly rank?: number | undefined } = {}) {
    super(message, options);
    this.rank = options.rank;
  }
}

/** A disk is full, or does not take a file where it belongs. */
export class DiskError extends TuneError {
  protected static override readonly helpSection = 'disk';
  override readonly name = 'DiskError';
  readonly code = 'DISK';
}

/** What a TransferError carries beside its message. */
export type TransferErrorOptions = TuneErrorOptions &
  Partial<Pick<TransferError, 'url' | 'status' | 'isTransient' | 'isTooSlow' | 'isUnknownHost' | 'retryAfterMs'>>;

/** A request over HTTP failed, whatever service it went to. */
export class TransferError extends TuneError {
  protected static override readonly helpSection: string = 'transfer';
  override readonly name: string = 'TransferError';
  readonly code: 'TRANSFER' | 'HUB' | 'KAGGLE' = 'TRANSFER';
  /** What was asked, without user, password and query. */
  readonly url: string | undefined;
  /** HTTP status of the answer; undefined if there was none. */
  readonly status: number | undefined;
  /** Whether the same call may succeed later. Those of this package have been repeated as often as its options say. */
  readonly isTransient: boolean;
  /** Whether the server does answer, but so slowly that it was given up. */
  readonly isTooSlow: boolean;
  /**
   * Whether the name of a host that has not answered this process before cannot be looked up, as on a machine without
   * network: it is asked again for some seconds only.
   */
  readonly isUnknownHost: boolean;
  /** How long the server wants to be left alone, in milliseconds; undefined if it does not say. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, options: TransferErrorOptions = {}) {
    super(message, options);
    this.url = this.safe(options.url);
    this.status = options.status;
    this.isTransient = options.isTransient ?? false;
    this.isTooSlow = options.isTooSlow ?? false;
    this.isUnknownHost = options.isUnknownHost ?? false;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** Servers are quoted, and their addresses may be signed. */
  protected override clean(text: string): string {
    return redactAddresses(text);
  }
}

/** What a HubError carries beside its message. */
export type HubErrorOptions = TransferErrorOptions & Partial<Pick<HubError, 'errorCode' | 'startOver'>>;

/** A download from the Hugging Face Hub, or an upload to it, failed. */
export class HubError extends TransferError {
  protected static override readonly helpSection = 'hub';
  override readonly name: string = 'HubError';
  override readonly code = 'HUB';
  /** The Hub's own code, such as `GatedRepo`; undefined if it gave none. */
  readonly errorCode: string | undefined;
  /** Whether an upload may succeed when it begins again with a look at what the repository has by then. */
  readonly startOver: boolean;

  constructor(message: string, options: HubErrorOptions = {}) {
    super(message, options);
    this.errorCode = this.safe(options.errorCode);
    this.startOver = options.startOver ?? false;
  }
}

/** A download from Kaggle failed. */
export class KaggleError extends TransferError {
  protected static override readonly helpSection = 'kaggle';
  override readonly name = 'KaggleError';
  override readonly code = 'KAGGLE';
}
