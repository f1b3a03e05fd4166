/** `ministral-tune/report`: what came out of a run, as one HTML file to look at and to hand on. */
export { renderRunReport } from './report/run-report.js';
export { writeRunReport } from './report/write-run-report.js';
export type {
  AuditWithImages,
  EvaluationPair,
  ReportImage,
  RunProvenance,
  RunReportParts,
  StepEntry,
  TrainingCourse,
} from './report/report-parts.js';
export type { ImageItem, ReportImageSource } from './report/report-images.js';
export type { WriteRunReportOptions, WrittenRunReport } from './report/write-run-report.js';
