/** Which numbers of cards a plan computes, and what it says of them. */
import { z } from 'zod';
import { ConfigError } from '../errors.js';
import type { SftConfig } from '../train/sft-config.js';
import { type DealtWindows, dealtWindows, sameEffectiveBatch } from './dealt-windows.js';
import { type LinkName, linkNamed } from './links.js';
import type { PackedSamples } from './run-windows.js';

/** Beyond, the model of the time says nothing. */
const MOST_GPUS = 64;
/** Of a machine. */
const MOST_LOCAL_GPUS = 8;
/** Each window is one of every rank. */
const FEWEST_DEALT_WINDOWS = 8;

const gpuCount = z.int().positive().max(MOST_GPUS);
export const gpusSchema = z.union([gpuCount, z.array(gpuCount).min(1).readonly()], {
  error: `expected a number of cards from 1 to ${MOST_GPUS}, or a list of such`,
});

interface SeveralOptions {
  readonly gpus?: number | readonly number[] | undefined;
  readonly link?: LinkName | undefined;
  readonly pricePerHour?: number | undefined;
}

/** @throws ConfigError for what has no effect without several cards, or does not link so many */
export function wantedGpus({ gpus, link, pricePerHour }: SeveralOptions): number[] | undefined {
  if (gpus === undefined) {
    const idle = link !== undefined ? 'link' : pricePerHour !== undefined ? 'pricePerHour' : undefined;
    if (idle === undefined) return undefined;
    throw new ConfigError(`plan: \`${idle}\` has no effect without \`gpus\``, {
      hint: 'Give the numbers of cards too, e.g. `gpus: [1, 2, 4, 8]` (--gpus 1,2,4,8).',
    });
  }
  const wanted = [...new Set(typeof gpus === 'number' ? [gpus] : gpus)].sort((a, b) => a - b);
  const most = wanted.at(-1)!;
  if (most > MOST_LOCAL_GPUS && (link === undefined || !linkNamed(link).isNetwork)) {
    throw new ConfigError(
      `plan: \`gpus\`: ${most} cards are more than the ${MOST_LOCAL_GPUS} of a machine, and \`link\` is ${link ?? 'not given'}`,
      { hint: 'Say what network links the machines: `link: "400gbit"`, `"100gbit"` or `"25gbit"` (--link 400gbit).' },
    );
  }
  return wanted;
}

/** For each number of cards the batch of each device as it is written, then the one that keeps the effective batch. */
export function dealtRuns(
  wanted: readonly number[],
  packed: PackedSamples,
  config: SftConfig,
  most: number,
): DealtWindows[] {
  return wanted.flatMap((gpus) => {
    const kept = gpus === 1 ? undefined : sameEffectiveBatch(config, gpus);
    const windows = Math.max(FEWEST_DEALT_WINDOWS, Math.ceil(most / gpus));
    return [config, ...(kept ? [kept] : [])].map((batch) => dealtWindows(packed, config, gpus, batch, windows));
  });
}

/** What the figures of several cards rest on. */
export function notesOfSeveral(dealt: readonly DealtWindows[], config: SftConfig): string[] {
  const several = dealt.filter(({ gpus }) => gpus > 1);
  if (several.length === 0) return [];
  const { perDeviceTrainBatchSize, gradientAccumulationSteps } = config;
  const batch = perDeviceTrainBatchSize * gradientAccumulationSteps;
  const kept = [...new Set(several.map(({ gpus }) => gpus))].map((gpus) => {
    const same = sameEffectiveBatch(config, gpus);
    if (!same) return `on ${gpus} cards it does not divide`;
    const { perDeviceTrainBatchSize: size, gradientAccumulationSteps: accumulation } = same;
    const also = size === perDeviceTrainBatchSize ? '' : `, perDeviceTrainBatchSize ${size}`;
    return `on ${gpus} cards gradientAccumulationSteps ${accumulation}${also} keeps it`;
  });
  const sampled = several.filter(({ windows, steps }) => windows.length < steps);
  const fewest = sampled.reduce((least, { windows }) => Math.min(least, windows.length), Number.POSITIVE_INFINITY);
  return [
    `several cards: \`gradientAccumulationSteps\` is per device, so the effective batch of ${batch} grows with the cards: ` +
      kept.join('; '),
    'several cards: computed from the passes of one card, published rates of links, and a share of each step that was ' +
      'fitted to runs on two H200; other cards and numbers of cards were not measured; each takes the memory of one, beside ' +
      'the buffers of NCCL',
    ...(sampled.length === 0
      ? []
      : [
          `several cards: of long runs as few as ${fewest} steps were dealt; with fewer cards and formats to compare, more`,
        ]),
  ];
}
