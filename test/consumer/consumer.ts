/** A program of a user: what it imports is found through the doors of the built package, with the types that it needs. */
import {
  ConfigError,
  countLabels,
  createEngine,
  type EvaluationReport,
  fromPretrained,
  type SftConfigInput,
  type SftExample,
  SftTrainer,
  TuneError,
  VlmCollator,
} from 'ministral-tune';
import { type AuditInput, auditDataset, formatAudit } from 'ministral-tune/audit';
import { confusionChart, renderPng } from 'ministral-tune/charts';
import { type Collator, decodeImage, type RgbImage } from 'ministral-tune/data';
import { type DemonstrationOptions, prepareDemonstration } from 'ministral-tune/demo';
import { isMainProcess, type ProcessGroup, processGroup } from 'ministral-tune/distributed';
import { Tape, type Tensor } from 'ministral-tune/engine';
import { bootstrapIntervals, wilsonInterval } from 'ministral-tune/eval';
import { type HubProgress, snapshotDownload } from 'ministral-tune/hub';
import { jsonLines, livePage, type TrainerCallback } from 'ministral-tune/monitor';
import { formatTrainingPlan, plan, type TrainingPlanOptions } from 'ministral-tune/plan';
import { type RunReportParts, renderRunReport } from 'ministral-tune/report';
import { SafetensorsFile, type TensorInfo } from 'ministral-tune/safetensors';
import type { EvaluatorOptions, PushToHubOptions, SftTrainerOptions, TrainableModel } from 'ministral-tune/types';

const config: SftConfigInput = { learningRate: 1e-4, lrSchedulerType: 'cosine' };
export const push: PushToHubOptions = { modelCard: { license: 'apache-2.0' } };

export async function train(name: string, samples: SftExample[]): Promise<number> {
  const engine = await createEngine('cpu');
  const { model, processor } = await fromPretrained(name, { engine });
  const { tokenizer, imageProcessor, chatTemplate } = processor;
  if (!chatTemplate) throw new ConfigError('no chat template');
  const collator = new VlmCollator({ tokenizer, imageProcessor, chatTemplate });
  const options: SftTrainerOptions = { model, collator, trainDataset: samples, config };
  const trainable: TrainableModel = model;
  const asked: Collator = collator;
  await new SftTrainer(options).train();
  return countLabels(await asked.collate(samples)) + trainable.trainable.size;
}

export const engineOf = (tape: Tape): Tape => new Tape(tape.engine);
export const shapeOf = ({ shape }: Tensor): readonly number[] => shape;
export const pixels = (bytes: Uint8Array): Promise<RgbImage> => decodeImage(bytes);
export const draw = (report: EvaluationReport, path: string) => renderPng(confusionChart(report), path);
export const audit = async (data: AuditInput): Promise<string> => formatAudit(await auditDataset(data));
export const demonstrate = (options: DemonstrationOptions) => prepareDemonstration(options);
export const intervals = (report: EvaluationReport) => [bootstrapIntervals(report.confusion), wilsonInterval(1, 2)];
export const watch = async (): Promise<TrainerCallback[]> => [jsonLines(), await livePage()];
export const planned = async (options: TrainingPlanOptions): Promise<string> => formatTrainingPlan(await plan(options));
export const page = (parts: RunReportParts) => renderRunReport(parts);
export const ranks = async (): Promise<ProcessGroup | undefined> => (isMainProcess() ? processGroup() : undefined);
export const answers = (options: EvaluatorOptions) => options.generate;
export const download = (id: string, onProgress: (progress: HubProgress) => void) =>
  snapshotDownload(id, { onProgress });

export async function tensors(path: string): Promise<TensorInfo[]> {
  try {
    const file = await SafetensorsFile.open(path);
    return [...file.tensors.values()];
  } catch (error) {
    if (error instanceof TuneError) throw new Error(`${error.code}: ${error.hint}`);
    throw error;
  }
}
