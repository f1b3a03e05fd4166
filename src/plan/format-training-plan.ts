/** A plan as text of at most 80 columns. */
import { ConfigError } from '../errors.js';
import { displayWidth } from '../messages/display-width.js';
import { formatBytes } from '../messages/format-bytes.js';
import { describeGiven, isObject, isPromise } from '../messages/given-kind.js';
import { oneLine } from '../messages/one-line.js';
import { duration, rate, row, WIDTH, wrapped } from './format-cells.js';
import { dataParallelLines } from './format-data-parallel.js';
import type { CardPlan, CardRun, DataPlan, FormatPlan, SampleFault, TrainingPlan } from './training-plan.js';

const GIB = 2 ** 30;
/** Faulty samples that are named of each kind. */
const LISTED = 10;

/**
 * The plan for a terminal: data, run, memory by what is recomputed, and a table of cards. Lines have at most 80 columns, names
 * of samples aside, which are never cut off.
 */
export function formatTrainingPlan(plan: TrainingPlan): string {
  if (!Array.isArray(plan?.formats) || !isObject(plan.data)) {
    throw new ConfigError(`formatTrainingPlan: expected a plan, got ${describeGiven(plan)}`, {
      hint: isPromise(plan) ? 'Await it.' : 'await plan({ model, trainDataset }) gives one.',
    });
  }
  const lines = [
    ...dataLines(plan.data),
    '',
    ...runLines(plan),
    ...plan.formats.flatMap((format) => ['', ...formatLines(format)]),
    '',
    ...(plan.engine === 'webgpu' ? machineLines(plan.cards) : cardLines(plan.cards)),
    ...dataParallelLines(plan.cards),
    ...memoryLines(plan.cards),
    '',
    ...plan.notes.flatMap((note) => wrapped(`- ${oneLine(note)}`, '  ')),
  ];
  return lines.join('\n');
}

function dataLines({ samples, trainedSamples, images, perSample, ...data }: DataPlan): string[] {
  const lengths = perSample.map(({ tokens }) => tokens).sort((a, b) => a - b);
  const shared = perSample.reduce((sum, { prefixTokens }) => sum + prefixTokens, 0);
  const at = (share: number): number => lengths[Math.floor(share * (lengths.length - 1))] ?? 0;
  const longest = perSample.reduce((most, one) => (one.tokens > most.tokens ? one : most), perSample[0]!);
  return [
    `Data        ${count(trainedSamples)} of ${count(samples)} samples are trained on, ${count(images)} images`,
    ...wrapped(
      `Tokens      ${count(data.tokens)}: ${count(data.imageTokens)} of images, ${count(data.labels)} learned; ` +
        `${percent(shared / Math.max(1, data.tokens))} in prefixes that samples have in common`,
      ' '.repeat(12),
    ),
    ...(lengths.length === 0
      ? []
      : [
          `Length      least ${count(at(0))}, median ${count(at(0.5))}, 95 % ${count(at(0.95))}, most ${count(at(1))}:`,
          `            ${longest.id}`,
        ]),
    ...faultLines('too long', data.overlong),
    ...faultLines('nothing to learn', data.unlearnable),
    ...faultLines('unreadable', data.unreadable),
  ];
}

function faultLines(what: string, faults: readonly SampleFault[]): string[] {
  if (faults.length === 0) return [];
  const stopping = faults.filter(({ isLeftOut }) => !isLeftOut).length;
  const effect =
    stopping === 0
      ? 'left out by the run'
      : stopping === faults.length
        ? 'the run would stop there'
        : `${stopping} would stop the run`;
  const more = faults.length - LISTED;
  return [
    `${count(faults.length)} ${faults.length === 1 ? 'sample' : 'samples'} ${what}: ${effect}`,
    ...faults.slice(0, LISTED).flatMap(({ id, reason }) => {
      const line = `  ${id}: ${oneLine(reason)}`;
      return displayWidth(line) <= WIDTH ? [line] : [`  ${id}:`, ...wrapped(`    ${oneLine(reason)}`, '    ')];
    }),
    ...(more > 0 ? [`  and ${count(more)} more`] : []),
  ];
}

function runLines(plan: TrainingPlan): string[] {
  const share = plan.trainableParameters / Math.max(1, plan.parameters);
  return [
    ...wrapped(
      `Model       ${oneLine(plan.model)}: ${billions(plan.parameters)} parameters, ${billions(plan.trainableParameters)} ` +
        `trained (${(100 * share).toFixed(2)} %)`,
      ' '.repeat(12),
    ),
    `Run         ${count(plan.steps)} optimizer steps of ${count(plan.effectiveBatchSize)} samples, ${count(plan.runTokens)} tokens`,
    `            ${percent(plan.sharedTokenShare)} of them reused from common prefixes; ${operations(plan.flops)} operations`,
  ];
}

function formatLines({ format, weightBytes, recomputation }: FormatPlan): string[] {
  return [
    `Weights in ${format}: ${formatBytes(weightBytes)}; without a limit, by what is recomputed (GiB):`,
    ...recomputation.map(({ recompute, activationBytes, totalBytes, relativeTime }) => {
      const extra = Math.round(100 * ((relativeTime ?? 1) - 1));
      return row([
        [`  ${recompute}`, 35],
        [`pass ${gib(activationBytes)}`, -15],
        [`in all ${gib(totalBytes)}`, -17],
        [extra === 0 ? '' : `+${extra} % time`, -13],
      ]);
    }),
  ];
}

/** Widths of the columns of the table of cards; a negative one aligns at the right. */
const COLUMNS = [16, 8, -6, -11, -9, -8, -12, -10] as const;

function cardLines(cards: readonly CardPlan[]): string[] {
  const line = (...cells: readonly string[]): string => row(cells.map((cell, i) => [cell, COLUMNS[i]!] as const));
  const lines = cards.map(({ card, format, run, misfit }) => {
    if (!run) return wrapped(`${line(card, format)} does not run: ${oneLine(misfit ?? '')}`, ' '.repeat(24));
    const about = run.basis === 'measured' ? '' : '~';
    return [
      line(
        card,
        format,
        (run.memory.totalBytes / GIB).toFixed(1),
        `${about}${rate(run.samplesPerSecond ?? 0)}`,
        `${about}${duration(run.seconds ?? 0)}`,
        String(run.passes),
        recomputed(run),
        run.streamedBytes > 0 ? (run.streamedBytes / GIB).toFixed(1) : '-',
      ),
    ];
  });
  return [
    line('Card', 'weights', 'GiB', 'samples/s', 'time', 'passes', 'recomputed', 'streamed'),
    '─'.repeat(WIDTH),
    ...lines.flat(),
    ...wrapped(
      'GiB as nvidia-smi shows them; ~ scaled by data sheets; recomputed: layers of the vision tower + the decoder; streamed: ' +
        'GiB of weights copied from host memory in each forward and each backward',
      '',
    ),
  ];
}

/** Widths of the columns of the table of machines. */
const MACHINE_COLUMNS = [16, 8, -8, -8, -8, -14, -14] as const;

/** Where no times are known. */
function machineLines(cards: readonly CardPlan[]): string[] {
  const line = (...cells: readonly string[]): string =>
    row(cells.map((cell, i) => [cell, MACHINE_COLUMNS[i]!] as const));
  const lines = cards.map(({ card, format, cardBytes, budgetBytes = cardBytes, run, misfit }) => {
    const start = [card, format, (budgetBytes / GIB).toFixed(1)];
    if (!run) return wrapped(`${line(...start)} does not run: ${oneLine(misfit ?? '')}`, ' '.repeat(24));
    const used = (run.memory.totalBytes / GIB).toFixed(1);
    return [line(...start, used, String(run.passes), recomputed(run), String(run.microBatchSize))];
  });
  return [
    line('Machine', 'weights', 'budget', 'GiB', 'passes', 'recomputed', 'micro-batch'),
    '─'.repeat(WIDTH),
    ...lines.flat(),
    ...wrapped(
      'budget and GiB, at the worst moment, in 2^30 bytes; passes of an optimizer step; recomputed: layers of the vision ' +
        'tower + the decoder; micro-batch: samples, fewer than asked for where more do not fit',
      '',
    ),
  ];
}

function recomputed({ recomputedLayers: { vision, text } }: CardRun): string {
  return vision + text > 0 ? `${vision}+${text}` : '-';
}

/** Memory by part, of the last card on which each format runs. */
function memoryLines(cards: readonly CardPlan[]): string[] {
  const byFormat = new Map(cards.flatMap((card) => (card.run ? [[card.format, card] as const] : [])));
  return [...byFormat.values()].flatMap(({ card, format, run }) => {
    const { memory } = run!;
    const parts = [
      ['weights', memory.weightBytes],
      ['adapter and gradients', memory.adapterBytes],
      ['optimizer', memory.optimizerBytes],
      ['activations', memory.activationBytes],
      ['head', memory.headBytes],
      ['workspace', memory.workspaceBytes],
      ['context', memory.contextBytes],
    ] as const;
    const shown = parts.filter(([, bytes]) => bytes > 0).map(([what, bytes]) => `${what} ${gib(bytes)}`);
    return [
      '',
      ...wrapped(`Memory of ${format} on ${card}, GiB: ${shown.join(', ')}; in all ${gib(memory.totalBytes)}`, '  '),
    ];
  });
}

function count(value: number): string {
  return value.toLocaleString('en');
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

function gib(bytes: number): string {
  return (bytes / GIB).toFixed(2);
}

function billions(value: number): string {
  return value < 1e9 ? `${(value / 1e6).toFixed(1)} M` : `${(value / 1e9).toFixed(2)} G`;
}

function operations(flops: number): string {
  return flops === 0 ? 'no' : flops.toExponential(2).replace('e+', 'e');
}
