/** What a run report is made of. Everything may be missing: its section is left out then. */
import type { AuditReport, AuditThumbnails } from '../audit/audit-report.js';
import type { MaskView } from '../data/mask-view.js';
import type { EvaluationReport } from '../eval/evaluation-report.js';
import type { EvalEntry, LogEntry, TrainingEvent } from '../train/events.js';

/** Evaluations of one split, before the training and after it, with the same classes in the same order. */
export interface EvaluationPair {
  /** Of the split, such as "without near copies". */
  readonly name: string;
  /** Of the base model. */
  readonly before?: EvaluationReport | undefined;
  /** Of the trained one. */
  readonly after?: EvaluationReport | undefined;
}

/** What is shown of an event `step`. */
export type StepEntry = Pick<Extract<TrainingEvent, { type: 'step' }>, 'step' | 'loss' | 'gradNorm' | 'learningRate'>;

/** What is known of how a training went. */
export interface TrainingCourse {
  /** By rising step. */
  readonly logs: readonly LogEntry[];
  /** During training, by rising step. */
  readonly evaluations: readonly EvalEntry[];
  /** Every optimizer step, by rising number; where they are given, curves show them rather than `logs`. */
  readonly steps?: readonly StepEntry[] | undefined;
  /** In the order in which they came. */
  readonly warnings?: readonly {
    /** As the event has it. */
    readonly step: number;
    /** For people; may have several lines. */
    readonly message: string;
  }[];
  /** Optimizer steps done. Default: those of the last entry in `logs` or `steps`. */
  readonly stepsDone?: number | undefined;
  /** Optimizer steps of the whole run. */
  readonly totalSteps?: number | undefined;
  /** Of the training set. */
  readonly samples?: number | undefined;
  /** Trainable values. */
  readonly trainableParameters?: number | undefined;
  /** As `SftConfig`, every default filled in. */
  readonly config?: Readonly<Record<string, unknown>> | undefined;
}

/** Where a run comes from: what one needs to repeat it. */
export interface RunProvenance {
  /** When the report was made: ISO 8601. */
  readonly date?: string | undefined;
  /** Of this package. */
  readonly version?: string | undefined;
  /** Of Node.js, and the platform. */
  readonly node?: string | undefined;
  /** The engine with its card, as `engine.description` says it. */
  readonly engine?: string | undefined;
  /** The base model: a name on the Hub, or a folder. */
  readonly baseModel?: string | undefined;
  /** Commit of the base model on the Hub. */
  readonly baseRevision?: string | undefined;
  /** As `adapter_config.json` holds it. */
  readonly adapter?: Readonly<Record<string, unknown>> | undefined;
  /** Of the training set, as the checkpoint keeps it. */
  readonly dataset?: { readonly samples: number; readonly digest: string } | undefined;
  /** Of the evaluation set. */
  readonly evalDataset?: { readonly samples: number; readonly digest: string } | undefined;
  /** What else decides the run, of the model and the collator, by name. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
  /** How the program was called; known secrets are hidden. */
  readonly command?: string | undefined;
}

/** A small image for the page. */
export interface ReportImage {
  /** `data:image/…`. */
  readonly uri: string;
  /** Pixels of the original. */
  readonly width: number;
  /** Pixels of the original. */
  readonly height: number;
}

/** An audit of the data, with its images. */
export interface AuditWithImages {
  /** Of `auditDataset`. */
  readonly report: AuditReport;
  /** Of `auditThumbnails`, with its limits by default. */
  readonly thumbnails?: AuditThumbnails | undefined;
}

/** What {@link renderRunReport} takes. */
export interface RunReportParts {
  /** Heading of the report. Default: `Training run`. */
  readonly title?: string | undefined;
  /** What the run is about, in a sentence or two of its author. Default: none. */
  readonly description?: string | undefined;
  /** Evaluation of the base model on the test split. Default: none. */
  readonly before?: EvaluationReport | undefined;
  /** Evaluation of the trained model on the same split. Default: none. */
  readonly after?: EvaluationReport | undefined;
  /** The same models on other splits, for the summary. Default: none. */
  readonly others?: readonly EvaluationPair[] | undefined;
  /** Images by `id` of the evaluated sample. Samples without one are shown without. Default: none. */
  readonly images?: ReadonlyMap<string, ReportImage> | undefined;
  /** How the training went. Default: none. */
  readonly training?: TrainingCourse | undefined;
  /** What `auditDataset` found, by itself or with the small images of `auditThumbnails`. Default: none. */
  readonly audit?: AuditReport | AuditWithImages | undefined;
  /** Some samples as training sees them, of `maskView`. Default: none. */
  readonly masks?: MaskView | undefined;
  /** Where the run comes from. Default: none. */
  readonly provenance?: RunProvenance | undefined;
}
