/** A model over several cards of one machine. */
import { ConfigError, EngineError } from '../../errors.js';
import { type CudaEngine, createCudaEngine } from '../cuda/cuda-engine.js';
import { type CudaEngineOptions, requireCudaOptions } from '../cuda/cuda-options.js';
import { inspectMachine } from '../cuda/inspect-machine.js';
import type { DeviceMapOptions } from '../device-map.js';
import type { Engine } from '../engine.js';
import { SplitEngine } from './split-engine.js';

/**
 * @param options of each card; `memoryBudget` is that of cards that `maxMemory` does not name
 * @returns the plain engine for one card
 * @throws EngineError naming what is missing; ConfigError for options that are wrong
 */
export async function createSplitCudaEngine(
  options: CudaEngineOptions = {},
  { maxMemory }: DeviceMapOptions = {},
): Promise<Engine> {
  requireCudaOptions(options, 'cuda engine');
  if (options.device !== undefined) {
    throw new ConfigError("createEngine: `deviceMap: 'auto'` chooses the cards, and cuda.device names one", {
      hint: 'Name the cards in maxMemory: { 0: 20 * 2 ** 30, 1: 20 * 2 ** 30 }, or leave deviceMap out.',
    });
  }
  const visible = visibleCards();
  const cards = maxMemory ? Object.keys(maxMemory).map(Number) : visible;
  const missing = cards.filter((card) => !visible.includes(card));
  if (missing.length > 0) {
    throw new ConfigError(
      `createEngine: \`maxMemory\` names card ${missing.join(', ')}; there is card ${visible.join(', ')}`,
      {
        hint: 'Cards are counted from 0, among those that CUDA_VISIBLE_DEVICES leaves.',
        details: { missing, visible },
      },
    );
  }
  const engines: CudaEngine[] = [];
  try {
    for (const device of cards) {
      const memoryBudget = maxMemory?.[device] ?? options.memoryBudget;
      engines.push(createCudaEngine({ ...options, device, ...(memoryBudget === undefined ? {} : { memoryBudget }) }));
    }
  } catch (error) {
    for (const engine of engines) await engine.dispose();
    throw error;
  }
  return engines.length === 1 ? engines[0]! : new SplitEngine(engines, cards.map(labelOf));
}

function labelOf(card: number): string {
  return `card ${card}`;
}

/** @throws EngineError without any */
function visibleCards(): number[] {
  const { cards, fault, libraries } = inspectMachine();
  if (cards.length > 0) return cards.map(({ ordinal }) => ordinal);
  const driver = libraries.find(({ name }) => name === 'driver');
  throw new EngineError(
    `the cuda engine finds no card: ${fault ?? `${driver?.fileNames.join(' or ')} was not found`}`,
    {
      hint: driver?.path ? 'Check nvidia-smi and CUDA_VISIBLE_DEVICES.' : `To have one: ${driver?.cure}.`,
    },
  );
}
