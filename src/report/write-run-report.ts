/** A run's report from its own folder, written as one file. */
import { join } from 'node:path';
import { checkNames, requirePath } from '../config.js';
import { DataError, reasonOf } from '../errors.js';
import { requireReport } from '../eval/check-report.js';
import type { EvaluationReport } from '../eval/evaluation-report.js';
import { writeNamedFile } from '../files/atomic-file.js';
import { readJson } from '../files/read-json.js';
import { VERSION } from '../generated/version.js';
import { isKind } from '../messages/given-kind.js';
import { redactAddresses } from '../messages/secrets.js';
import { requireCallback, requireInteger, requireKind, requireSignal, requireText } from '../require-given.js';
import type { TrainingEvent } from '../train/events.js';
import { readRun } from './read-run.js';
import { type ReportImageSource, reportImages } from './report-images.js';
import type { RunProvenance, RunReportParts } from './report-parts.js';
import { renderRunReport } from './run-report.js';

/** Options of {@link writeRunReport}. */
export interface WriteRunReportOptions
  extends Pick<RunReportParts, 'title' | 'description' | 'others' | 'audit' | 'masks'> {
  /** Where it is written. Default: `report.html` in the folder of the run. */
  readonly file?: string | undefined;
  /** Evaluation of the base model: a report, or the file that `writeReport` wrote. Default: none. */
  readonly before?: EvaluationReport | string | undefined;
  /** Evaluation of the trained model on the same samples. Default: none. */
  readonly after?: EvaluationReport | string | undefined;
  /**
   * Where the images of evaluated samples come from: the data set that was evaluated, or a function that gives one. Items
   * of a data set are found by `path`, `id` or index, whichever is the sample's `id`. Default: no images.
   */
  readonly images?: ReportImageSource | undefined;
  /** Images in the page, at most; mistakes come first. Default: 200. */
  readonly maxImages?: number | undefined;
  /** Bytes of all images in the page together, at most. Default: 6 MiB. */
  readonly maxImageBytes?: number | undefined;
  /** Longest edge of an image in the page, in pixels. Default: 256. */
  readonly imageEdge?: number | undefined;
  /** Events of the run, for a point of each step: collected in its loop, or a file. Default: `events.jsonl` of its folder. */
  readonly events?: readonly TrainingEvent[] | string | undefined;
  /** What computed, such as `engine.description`. Default: none. */
  readonly engine?: string | undefined;
  /** How the program was called; null: not to be shown. Default: as this process was, with secrets hidden. */
  readonly command?: string | null | undefined;
  /** Rejects with its reason; nothing is written then. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** What {@link writeRunReport} wrote. */
export interface WrittenRunReport {
  /** The file. */
  readonly path: string;
  /** Its size. */
  readonly bytes: number;
  /** Images in it. */
  readonly images: number;
  /** Images of mistakes, and of answers that became right, that are left out to keep it small. */
  readonly imagesLeftOut: number;
  /** What could not be read, and is left out. */
  readonly warnings: readonly string[];
}

const OPTIONS = {
  title: false,
  description: false,
  others: false,
  audit: false,
  masks: false,
  file: false,
  before: false,
  after: false,
  images: false,
  maxImages: false,
  maxImageBytes: false,
  imageEdge: false,
  events: false,
  engine: false,
  command: false,
  signal: false,
} as const;

const MAX_REPORT_BYTES = 268_435_456;

/**
 * Writes the report of a run as one HTML file that needs nothing else. The folder gives the log, the configuration, the
 * base model and marks of the data (`train-log.jsonl`, the newest checkpoint, and `events.jsonl` of the callback
 * `jsonLines`, if there is one); the rest is given. The file appears whole or not at all.
 * @param folder `outputDir` of the run
 * @throws DataError if the folder holds no run, or `before` and `after` are not of the same classes; ConfigError for bad
 *   options; DiskError if the file cannot be written; the signal's reason
 * @example
 * ```ts
 * await trainer.train();
 * const { path } = await writeRunReport('outputs', { after, images: test, engine: engine.description });
 * ```
 */
export async function writeRunReport(folder: string, options: WriteRunReportOptions = {}): Promise<WrittenRunReport> {
  requirePath(folder, 'writeRunReport');
  checkOptions(options);
  const { title, description, others, audit, masks, signal, images: source } = options;
  const { maxImages = 200, maxImageBytes = 6 * 2 ** 20, imageEdge = 256 } = options;
  signal?.throwIfAborted();
  const before = await evaluationOf(options.before, 'before');
  const after = await evaluationOf(options.after, 'after');
  const run = await readRun(folder, options.events);
  const pictured =
    source && (await reportImages(before, after, source, { maxImages, maxImageBytes, imageEdge, signal }));
  const text = renderRunReport({
    ...{ title, description, before, after, others, audit, masks, training: run.training, images: pictured?.images },
    provenance: { ...run.provenance, ...provenanceOf(options) },
  });
  signal?.throwIfAborted();
  const path = options.file ?? join(folder, 'report.html');
  await writeNamedFile(path, text, 'writeRunReport');
  return {
    path,
    bytes: Buffer.byteLength(text),
    images: pictured?.images.size ?? 0,
    imagesLeftOut: pictured?.leftOut ?? 0,
    warnings: [...run.warnings, ...(pictured?.warnings ?? [])],
  };
}

function checkOptions(options: WriteRunReportOptions): void {
  const what = 'writeRunReport';
  checkNames(options, OPTIONS, what, { output: 'file', path: 'file', outputfile: 'file', dataset: 'images' });
  const { file, images, events, engine, command, signal, ...limits } = options;
  if (file !== undefined) requirePath(file, `${what}: \`file\``);
  if (images !== undefined && !isKind(images, 'dataset')) {
    requireCallback(images, `${what}: \`images\``, 'Give the data set that was evaluated, or a function of a sample.');
  }
  for (const name of ['maxImages', 'maxImageBytes'] as const) {
    if (limits[name] !== undefined) requireInteger(limits[name], `${what}: \`${name}\``, 0);
  }
  if (limits.imageEdge !== undefined) requireInteger(limits.imageEdge, `${what}: \`imageEdge\``, 16, 4096);
  if (events !== undefined && !Array.isArray(events)) requirePath(events, `${what}: \`events\``);
  if (engine !== undefined) requireText(engine, `${what}: \`engine\``, 'Give `engine.description`.');
  if (command !== undefined && command !== null) requireText(command, `${what}: \`command\``);
  requireSignal(signal, what);
}

async function evaluationOf(
  given: EvaluationReport | string | undefined,
  name: string,
): Promise<EvaluationReport | undefined> {
  if (given === undefined) return undefined;
  let report: unknown = given;
  if (typeof given === 'string') {
    report = await readJson(given, { maxBytes: MAX_REPORT_BYTES, maxContainers: 20_000_000 }).catch((cause: Error) => {
      throw new DataError(`writeRunReport: \`${name}\`: ${given} cannot be read: ${reasonOf(cause)}`, {
        hint: 'Give the file that `writeReport` wrote, or the report itself.',
        details: { path: given },
        cause,
      });
    });
  }
  requireKind('report', report, `writeRunReport: \`${name}\``);
  requireReport(report, `writeRunReport: \`${name}\``);
  return report as EvaluationReport;
}

function provenanceOf({ engine, command }: WriteRunReportOptions): RunProvenance {
  return {
    date: new Date().toISOString(),
    version: VERSION,
    node: `${process.version} on ${process.platform} ${process.arch}`,
    ...(engine !== undefined && { engine }),
    ...(command !== null && { command: redactAddresses(command ?? ownCommand(process.argv)) }),
  };
}

const SECRET_OPTION = /^--?[\w-]*(token|secret|passw|api-?key|auth|credential)[\w-]*/i;

/** The arguments of a process without what looks like a secret: the value of `--token`, and tokens by their form. */
export function ownCommand(argv: readonly string[]): string {
  const shown = argv.map((text, i) => {
    const name = SECRET_OPTION.exec(text)?.[0];
    if (name !== undefined && text.includes('=')) return `${text.slice(0, text.indexOf('='))}=***`;
    const before = argv[i - 1] ?? '';
    if (SECRET_OPTION.test(before) && !before.includes('=') && !text.startsWith('-')) return '***';
    return text.replace(/\b(hf_|KGAT_|sk-|ghp_|github_pat_)[\w-]{8,}/g, '***');
  });
  return ['node', ...shown.slice(1)]
    .map((text) => (/^[\w@%+=:,./*-]+$/.test(text) ? text : JSON.stringify(text)))
    .join(' ');
}
