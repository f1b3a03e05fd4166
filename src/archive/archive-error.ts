/** The error for an archive that is not unpacked: apart from the reader of archives, which loads with the first one. */
import { DataError, type TuneErrorOptions } from '../errors.js';
import { cutText } from '../messages/cut-text.js';

/**
 * Why an archive is not unpacked. `damaged`: its bytes are not those that were packed, and other ones may be. All
 * others are about what was packed, and the same bytes are refused again.
 */
export type ZipFault = 'damaged' | 'case' | 'names' | 'encrypted' | 'method' | 'limits' | 'links' | 'not-zip';

/** What an ArchiveError carries beside its message. */
export type ArchiveErrorOptions = TuneErrorOptions & Pick<ArchiveError, 'fault' | 'reason'>;

/** An archive that is damaged, or is not unpacked; `details.path` names it. */
export class ArchiveError extends DataError {
  override readonly name = 'ArchiveError';
  readonly fault: ZipFault;
  /** The summary without the path. */
  readonly reason: string;

  constructor(message: string, options: ArchiveErrorOptions) {
    super(message, options);
    this.fault = options.fault;
    this.reason = this.safe(options.reason);
  }
}

const HINTS: Readonly<Record<ZipFault, string>> = {
  damaged: 'The archive is damaged.',
  case:
    'A disk that distinguishes capital and small letters holds both files; others hold one of them. ' +
    '`allowCaseConflicts: true` unpacks both where the disk can.',
  names:
    'Such a name may lead out of the folder, or be no name on this system. Look at the archive before you trust it.',
  encrypted: 'Unpack it with its password.',
  method: 'Unpack it with a program that knows this form, such as 7-Zip.',
  limits: 'It would take more room than such a file should. Look at it before you trust it.',
  links: 'Links and devices are not made from an archive. Look at it before you trust it.',
  'not-zip': '',
};

interface ZipErrorFacts {
  /** Name in the archive. */
  readonly entry?: string | undefined;
  /** Default `damaged`. */
  readonly fault?: ZipFault | undefined;
  /** What it is in place of a zip archive. */
  readonly foreign?: { readonly advice: string } | undefined;
  readonly cause?: unknown;
}

/** The error for an archive that is not unpacked. */
export function zipError(path: string, why: string, facts: ZipErrorFacts = {}): ArchiveError {
  const { entry, fault = 'damaged', foreign, cause } = facts;
  const reason = `${entry === undefined ? '' : `entry "${shown(entry)}": `}${why}`;
  return new ArchiveError(`${path}: ${reason}`, {
    hint: foreign?.advice || HINTS[fault] || HINTS.damaged,
    fault,
    reason,
    details: { path, ...(entry === undefined ? {} : { entry }) },
    cause,
  });
}

/** A name as it may be printed: it can be long, and hold anything. */
export function shown(name: string): string {
  const plain = JSON.stringify(name).slice(1, -1);
  return cutText(plain, 120);
}
