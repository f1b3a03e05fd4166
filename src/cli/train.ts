/** A run of the command line: data, model, answers before, training, adapter, answers after, report. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { processGroup } from '../distributed/join-group.js';
import { isMainProcess } from '../distributed/main-process.js';
import { rankPlace } from '../distributed/rank-place.js';
import type { EvaluationReport } from '../eval/evaluation-report.js';
import { writePredictions } from '../eval/predictions.js';
import { compareReports, formatReport, writeReport } from '../eval/report.js';
import { writeNamedFile } from '../files/atomic-file.js';
import { makeOutputFolder } from '../files/disk-errors.js';
import { loadAdapter, saveAdapter } from '../lora/adapter-file.js';
import { applyLora, type LoraAdapter } from '../lora/apply-lora.js';
import { verifyAdapter } from '../lora/verify-adapter.js';
import { livePage } from '../monitor/live-page.js';
import { writeRunReport } from '../report/write-run-report.js';
import type { TrainerCallback } from '../train/callbacks.js';
import type { TrainingEvent, TrainOutput } from '../train/events.js';
import type { SftConfigInput } from '../train/sft-config.js';
import { SftTrainer } from '../train/sft-trainer.js';
import { writeAdapterRecord } from './adapter-record.js';
import { evaluateClasses } from './class-evaluation.js';
import { readFirstMeasures, writeFirstMeasures } from './first-measures.js';
import { loadData } from './load-data.js';
import { type OpenModel, openModel } from './open-model.js';
import { adapterDirOf, checkOutputFolder, checkpointsDirOf, clearOutputFolder } from './output-folder.js';
import { type RunSettings, seedOf } from './run-settings.js';
import type { RunSummary } from './run-summary.js';
import { shownProgress } from './shown-progress.js';
import { SUGGESTED_LORA, suggestedConfig } from './suggested-config.js';
import { type TrainTask, trainTask } from './train-task.js';
import type { Output } from './usage.js';

/** What one call asks for beside the settings, which a later call may repeat. */
export interface TrainRequest {
  /** A new run, one in the place of an earlier one, or one that goes on. */
  readonly way: 'new' | 'overwrite' | 'resume';
  readonly live: boolean;
  /** The file; false: none. Default: report.html in the output folder. */
  readonly report?: string | false | undefined;
  readonly title?: string | undefined;
  readonly signal: AbortSignal;
}

/** Settings of a run that can begin. */
export type TrainSettings = RunSettings & { readonly data: string; readonly model: string };

/** Of the run, in its folder: `--resume` and `--config` read it. */
export const SETTINGS_FILE = 'settings.json';

/** @returns what it has come to @throws what its parts throw; the signal's reason */
export async function train(settings: TrainSettings, request: TrainRequest, output: Output): Promise<RunSummary> {
  const { outputDir } = settings;
  const { signal } = request;
  const { print } = output;
  const note = (line: string): void => output.printError(`note: ${line}`);
  const seed = seedOf(settings);
  await checkOutputFolder(outputDir, request.way);
  const { labels, holdout, limit } = settings;
  const onProgress = shownProgress(settings, 'download');
  const data = await loadData(settings.data, { labels, holdout, limit, seed, signal, note, onProgress });
  const task = trainTask(data, settings);
  for (const line of task.lines) print(line);
  const worldSize = rankPlace()?.worldSize;
  const suggested = suggestedConfig(task.train.length, settings.config, worldSize);
  for (const line of suggested.lines) print(line);
  await makeOutputFolder(outputDir, 'train: --output-dir');
  signal.throwIfAborted();
  const opened = await openModel(settings.model, settings, { signal, print, worldSize });
  try {
    // Not before: data or a model that cannot be had cost no earlier run.
    if (request.way === 'overwrite' && isMainProcess()) await clearOutputFolder(outputDir);
    const config = {
      ...(task.evaluation ? { evalStrategy: 'epoch' as const } : {}),
      ...suggested.config,
      outputDir: checkpointsDirOf(outputDir),
    } as SftConfigInput;
    return await learn({ settings, request, output, note, task, opened, config });
  } finally {
    await opened.dispose();
  }
}

async function writeSettings(settings: TrainSettings): Promise<void> {
  const text = `${JSON.stringify(flatOf(settings), null, 2)}\n`;
  await writeNamedFile(join(settings.outputDir, SETTINGS_FILE), text, 'train');
}

/** Names of local files as they are found from any folder. */
function flatOf({ flat }: TrainSettings): Record<string, unknown> {
  const local = Object.entries(flat).flatMap(([name, value]) =>
    LOCAL.includes(name) && typeof value === 'string' && existsSync(value) ? [[name, resolve(value)]] : [],
  );
  return { ...flat, ...Object.fromEntries(local) };
}

const LOCAL = ['data', 'labels', 'model', 'adapter', 'processor', 'outputDir'];

interface Run {
  readonly settings: TrainSettings;
  readonly request: TrainRequest;
  readonly output: Output;
  readonly note: (line: string) => void;
  readonly task: TrainTask;
  readonly opened: OpenModel;
  readonly config: SftConfigInput;
}

async function learn(run: Run): Promise<RunSummary> {
  const { settings, request, output, note, task, opened, config } = run;
  const { outputDir } = settings;
  const { model, collator, chatTemplate, engine } = opened;
  const { signal } = request;
  const { print } = output;
  // Of several ranks all answer and learn, and this one writes.
  const isMain = isMainProcess();
  const adapter = await adapterOf(run);
  print(adapter.description);
  const page = request.live ? livePage({ title: request.title ?? outputDir }) : undefined;
  await page?.open();
  const baseModelNameOrPath = opened.name;
  const events: TrainingEvent[] = [];
  // Not a loop: the run prints its own losses.
  const watch: TrainerCallback = {
    name: 'command line',
    async onEvent(event) {
      // Not before: a resume with settings that the checkpoint refuses leaves those that it had.
      if (event.type === 'start' && isMain) {
        await writeSettings(settings);
        await writeFirstMeasures(outputDir, measured, { report: before, evalLoss: lossBefore });
      }
      events.push(event);
    },
  };
  const trainer = new SftTrainer({
    model,
    trainDataset: task.train,
    evalDataset: task.evaluation,
    collator,
    saveAdapter: (folder) => saveAdapter(adapter, folder, { baseModelNameOrPath, chatTemplate, processor: collator }),
    config,
    callbacks: [watch, ...(page ? [page] : [])],
  });
  const judge = (what: string): Promise<EvaluationReport | undefined> => judged(run, what);
  const { evaluation } = task;
  const measured = {
    settings: flatOf(settings),
    testSamples: task.classes?.test?.length ?? 0,
    evalSamples: evaluation?.length ?? 0,
  };
  const readKept = async () => (request.way === 'resume' ? await readFirstMeasures(outputDir, measured) : undefined);
  const group = await processGroup();
  // All ranks ask the model again, or none: the folder of rank 0 decides.
  const kept = group
    ? (await group.broadcast('first measures', group.isMain ? { kept: await readKept() } : undefined, signal)).kept
    : await readKept();
  const before = kept ? kept.report : await judge('before');
  if (kept?.report) print(`${accuracyLine('before', kept.report)}, as the run began`);
  const lossBefore = kept ? kept.evalLoss : evaluation && (await trainer.evaluate(evaluation, signal)).evalLoss;
  const lossName = task.classes ? 'validation loss' : 'test loss';
  if (lossBefore !== undefined) print(`${lossName} before: ${lossBefore.toFixed(4)}`);
  const trained = await trainer.train({ signal, ...(request.way === 'resume' ? { resumeFromCheckpoint: true } : {}) });
  const folder = adapterDirOf(outputDir);
  if (isMain) {
    await saveAdapter(adapter, folder, { baseModelNameOrPath, chatTemplate, processor: collator });
    // At once: that of an earlier run, or none, would go with an adapter whose evaluation is stopped.
    await writeAdapterRecord(folder, recordOf(run));
    const probe = await task.train.get(0);
    const check = await verifyAdapter(model, folder, await collator.collate([probe]));
    print(`${folder}: saved and read back; its ${check.modules} layers change what the model says`);
  }
  const after = await judge('after');
  const lossAfter = evaluation && (await trainer.evaluate(evaluation, signal)).evalLoss;
  const report = isMain ? await writeResults(run, { before, after, events }) : undefined;
  for (const line of report?.warnings ?? []) note(line);
  return {
    model: opened.name,
    engine: engine.name,
    trainSamples: task.train.length,
    testSamples: (task.classes ? task.classes.test : evaluation)?.length ?? 0,
    ...(task.classes && evaluation ? { validationSamples: evaluation.length } : {}),
    classes: task.classes?.question.classNames.length,
    ...courseOf(trained, events),
    ...(after ? { accuracy: { before: before?.accuracy, after: after.accuracy } } : {}),
    ...(lossBefore !== undefined && lossAfter !== undefined
      ? { evalLoss: { before: lossBefore, after: lossAfter } }
      : {}),
    adapter: folder,
    report: report?.path,
  };
}

function adapterOf({ settings, opened, note }: Run): Promise<LoraAdapter> | LoraAdapter {
  const { model } = opened;
  if (settings.adapter !== undefined) return loadAdapter(settings.adapter, model, { onWarning: note });
  return applyLora(model, { ...SUGGESTED_LORA, ...settings.lora }, { onWarning: note });
}

/** Answers of the model as it is now; undefined where there is nothing to ask. */
async function judged({ settings, request, task, opened, output }: Run, what: string) {
  const { classes } = task;
  if (classes?.test === undefined || !settings.evaluate) return undefined;
  const { mode } = settings;
  const { sharePrefix } = settings.config;
  const { signal } = request;
  const report = await evaluateClasses(opened, classes.test, classes.question, {
    ...{ mode, sharePrefix, signal, onProgress: shownProgress(settings, what) },
  });
  output.print(accuracyLine(what, report));
  return report;
}

const accuracyLine = (what: string, { accuracy, count }: EvaluationReport): string =>
  `accuracy ${what}: ${(100 * accuracy).toFixed(1)} % of ${count} test images`;

function recordOf({ settings, task, opened }: Run, before?: EvaluationReport, after?: EvaluationReport) {
  const { question, test } = task.classes ?? {};
  return {
    settings: flatOf(settings),
    model: opened.name,
    ...(question ? { prompt: question.prompt, classNames: [...question.classNames] } : {}),
    ...(settings.system === undefined ? {} : { system: settings.system }),
    trainSamples: task.train.length,
    ...(test === undefined ? {} : { testSamples: test.length }),
    ...(after ? { accuracy: { before: before?.accuracy, after: after.accuracy } } : {}),
  };
}

/** Steps of the whole run and of this call, and how the loss of this call begins and ends. */
function courseOf(
  { globalStep, metrics, firstLoss: first, lastLoss: last }: TrainOutput,
  events: readonly TrainingEvent[],
): Pick<RunSummary, 'steps' | 'resumedAt' | 'seconds' | 'loss'> {
  const start = events.find(({ type }) => type === 'start');
  return {
    steps: globalStep,
    ...(start?.type === 'start' && start.step > 0 ? { resumedAt: start.step } : {}),
    seconds: metrics.trainRuntime,
    loss: first === undefined || last === undefined ? undefined : { first, last },
  };
}

/** What rank 0 leaves beside the adapter. */
async function writeResults(run: Run, parts: Omit<Parameters<typeof writeHtml>[1], 'engine'>) {
  const { settings, output, opened } = run;
  const { outputDir } = settings;
  const { before, after } = parts;
  await writeAdapterRecord(adapterDirOf(outputDir), recordOf(run, before, after));
  if (after) {
    output.print(`\n${formatReport(after)}`);
    if (before) output.print(`\n${compareReports(before, after)}`);
    await writePredictions(after, join(outputDir, 'predictions.csv'));
    await writeReport(after, join(outputDir, 'report.json'));
  }
  return writeHtml(run, { ...parts, engine: opened.engine.description });
}

async function writeHtml(
  { settings, request, task, config }: Run,
  parts: {
    readonly before: EvaluationReport | undefined;
    readonly after: EvaluationReport | undefined;
    readonly events: readonly TrainingEvent[];
    readonly engine: string;
  },
) {
  if (request.report === false) return undefined;
  return writeRunReport(config.outputDir!, {
    ...parts,
    title: request.title ?? settings.outputDir,
    file: request.report ?? join(settings.outputDir, 'report.html'),
    images: task.classes?.test,
    signal: request.signal,
  });
}
