/** `evaluate` with what its command line says. */
import { join, resolve } from 'node:path';
import { classPrompt } from '../data/class-example.js';
import { vlmCollatorOptionsSchema } from '../data/collator-options.js';
import { isMainProcess } from '../distributed/main-process.js';
import { ConfigError, DataError } from '../errors.js';
import { writePredictions } from '../eval/predictions.js';
import { formatReport, writeReport } from '../eval/report.js';
import { makeOutputFolder } from '../files/disk-errors.js';
import { exists } from '../files/regular-file.js';
import { ADAPTER_CONFIG_FILE } from '../lora/adapter-folder.js';
import { oneLine } from '../messages/one-line.js';
import { SftTrainer } from '../train/sft-trainer.js';
import { type AdapterRecord, readAdapterRecord } from './adapter-record.js';
import { evaluateClasses } from './class-evaluation.js';
import type { EvaluateFlags } from './command-flags.js';
import { loadData, type RunData } from './load-data.js';
import { isFolder, type OpenModel, openModel, requireAdapterName, requireModelName } from './open-model.js';
import { defined, GIB, requireOption } from './option-values.js';
import { outputOfRank } from './ranks.js';
import { type RunSettings, seedOf, settingsOf } from './run-settings.js';
import { shownProgress } from './shown-progress.js';
import { untilStopped } from './until-stopped.js';
import { type Output, UsageError } from './usage.js';

/** @returns the exit code */
export async function evaluateFromFlags(flags: EvaluateFlags, ofProcess: Output): Promise<number> {
  const output = outputOfRank(ofProcess);
  const { adapter } = flags;
  const name = requireOption(adapter ?? flags.model, 'evaluate', '--adapter (or --model alone)');
  if (adapter !== undefined) await requireAdapterName(adapter, 'evaluate');
  const isLocal = await isFolder(name);
  if (adapter !== undefined && isLocal && !(await exists(join(adapter, ADAPTER_CONFIG_FILE)))) throw noAdapter(adapter);
  const record = isLocal ? await readAdapterRecord(name) : undefined;
  const settings = settingsFrom(flags, record);
  if (flags.model !== undefined) await requireModelName(flags.model, 'evaluate');
  const { data } = settings;
  if (data === undefined) {
    throw new UsageError('evaluate: --data is missing', {
      hint: adapter && `${adapter} has no file of \`ministral-tune train\` beside it, which would name the data.`,
    });
  }
  const outputDir = flags.outputDir ?? 'evaluation';
  const work = async (signal: AbortSignal): Promise<number> => {
    const note = (line: string): void => output.printError(`note: ${line}`);
    const { labels, holdout, limit } = settings;
    const seed = seedOf(settings);
    const onProgress = shownProgress(settings, 'download');
    const loaded = await loadData(data, { labels, holdout, limit, seed, signal, note, onProgress });
    const part = requirePart(loaded, flags.split ?? 'test');
    if (part.kind === 'conversations') checkConversationFlags(flags);
    // Before the work, not after.
    else await makeOutputFolder(outputDir, 'evaluate: --output-dir');
    const baseModel = adapter === undefined ? undefined : flags.model;
    const opened = await openModel(name, settings, { baseModel, signal, print: output.print });
    try {
      if (adapter !== undefined && opened.adapter === undefined) throw noAdapter(adapter);
      const asked = { settings, flags, record, signal, output, outputDir };
      const figures =
        part.kind === 'classes' ? await classFigures(opened, part, asked) : await lossFigures(opened, part, asked);
      if (flags.json) output.print(JSON.stringify({ model: name, engine: opened.engine.name, ...figures }));
      return 0;
    } finally {
      await opened.dispose();
    }
  };
  return untilStopped(output, work, { stopping: 'stopping', stopped: () => 'stopped: nothing was written' });
}

/** A model in its place would be evaluated as if it had been trained. */
function noAdapter(name: string): ConfigError {
  return new ConfigError(`evaluate: --adapter: ${oneLine(name)} holds no ${ADAPTER_CONFIG_FILE}, so it is no adapter`, {
    hint: 'A model by itself is given by --model; of a run of `train` the adapter is in adapter/ of its folder.',
    details: { adapter: name },
  });
}

/** Options of the training hold where the flags give none, but for where it wrote and how much it used. */
function settingsFrom(flags: EvaluateFlags, record: AdapterRecord | undefined): RunSettings {
  const { data, labels, holdout, seed, limit, prompt, system, template, mode, engine, quantization } = flags;
  const { prompt: asked, system: before } = record ?? {};
  const { data: trained, holdout: held, labels: table, processor, ...others } = record?.settings ?? {};
  // A holdout of other data would leave out most of them.
  const isSame = data === undefined || data === trained || (typeof trained === 'string' && resolve(data) === trained);
  const own = isSame ? { data: trained, holdout: held, labels: table } : {};
  const given = defined({
    ...own,
    processor,
    ...defined({
      progress: others.progress,
      seed: others.seed,
      quantization: others.quantization,
      mode: others.mode,
      template: others.template,
    }),
    // What counts as an answer, and how long a sample may be.
    ...Object.fromEntries(Object.keys(vlmCollatorOptionsSchema().shape).map((option) => [option, others[option]])),
    ...defined({ prompt: asked, system: before }),
    ...defined({ data, labels, holdout, seed, limit, prompt, system, template, mode, engine, quantization }),
    memoryBudget: flags.memoryBudget === undefined ? undefined : Math.floor(flags.memoryBudget * GIB),
  });
  return settingsOf(given, 'evaluate');
}

type Part =
  | (Extract<RunData, { kind: 'classes' }> & {
      readonly chosen: NonNullable<Extract<RunData, { kind: 'classes' }>['test']>;
    })
  | (Extract<RunData, { kind: 'conversations' }> & {
      readonly chosen: Extract<RunData, { kind: 'conversations' }>['train'];
    });

/** Of conversations without a test part all are evaluated. */
function requirePart(data: RunData, split: 'test' | 'train' | 'validation'): Part {
  if (data.kind === 'conversations') {
    if (split !== 'validation') return { ...data, chosen: (split === 'test' && data.test) || data.train };
    throw new DataError(`${oneLine(data.name)}: conversations have no validation part`, {
      hint: '--split test and --split train are the parts that --holdout makes.',
      details: { path: data.name },
    });
  }
  const chosen = data[split];
  if (chosen !== undefined) return { ...data, chosen };
  const found = [...data.folder.splits].map(([name, { length }]) => `${name} ${length}`).join(', ');
  throw new DataError(`${oneLine(data.folder.dir)}: there are no ${split} images, only: ${found}`, {
    hint: 'Name them by --split, or by --holdout the share that the training kept for the test.',
    details: { path: data.folder.dir },
  });
}

interface Asked {
  readonly settings: RunSettings;
  readonly flags: EvaluateFlags;
  readonly record: AdapterRecord | undefined;
  readonly signal: AbortSignal;
  readonly output: Output;
  readonly outputDir: string;
}

async function classFigures(
  opened: OpenModel,
  { chosen, classNames: own }: Extract<Part, { kind: 'classes' }>,
  { settings, record, signal, output, outputDir }: Asked,
): Promise<object> {
  // Classes of the training, in its order, unless the data have others.
  const trained = record?.classNames;
  const classNames = trained && own.every((name) => trained.includes(name)) ? trained : own;
  const question = { prompt: settings.prompt ?? classPrompt(classNames), system: settings.system, classNames };
  output.print(`asked with: ${oneLine(question.prompt)}`);
  const { mode } = settings;
  const report = await evaluateClasses(opened, chosen, question, {
    ...{ mode, signal, onProgress: shownProgress(settings, 'evaluation') },
  });
  output.print(formatReport(report));
  const [predictions, json] = [join(outputDir, 'predictions.csv'), join(outputDir, 'report.json')];
  if (isMainProcess()) {
    await writePredictions(report, predictions);
    await writeReport(report, json);
  }
  output.print(`\n${predictions}, ${json}`);
  const { accuracy, balancedAccuracy, macroF1, count } = report;
  return { samples: count, accuracy, balancedAccuracy, macroF1, predictions, report: json };
}

function checkConversationFlags(flags: EvaluateFlags): void {
  const given = { mode: flags.mode, prompt: flags.prompt, system: flags.system, 'output-dir': flags.outputDir };
  for (const [option, value] of Object.entries(given)) {
    if (value === undefined) continue;
    throw new UsageError(`evaluate: --${option} has no effect on conversations`, { hint: 'Leave it out.' });
  }
}

async function lossFigures(
  { model, collator }: OpenModel,
  { chosen }: Extract<Part, { kind: 'conversations' }>,
  { signal, output }: Asked,
): Promise<object> {
  const trainer = new SftTrainer({ model, collator, trainDataset: chosen, evalDataset: chosen });
  const { evalLoss, evalRuntime } = await trainer.evaluate(chosen, signal);
  output.print(
    `loss ${evalLoss.toFixed(4)} a labelled token (perplexity ${Math.exp(evalLoss).toPrecision(4)}) of ` +
      `${chosen.length} conversations, ${evalRuntime.toFixed(1)} s`,
  );
  return { samples: chosen.length, evalLoss };
}
