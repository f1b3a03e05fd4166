/** Machines by the memory of their GPU: what a plan for the `webgpu` engine compares. */
import { MEMORY_SHARES, type MemoryKind, UNKNOWN_MEMORY_BYTES } from '../engine/webgpu/memory-size.js';
import { ConfigError } from '../errors.js';
import { showValue } from '../messages/show-value.js';

export interface Machine {
  /** E.g. `Mac 16GB`. */
  readonly name: string;
  /** Of the system, or of the card. */
  readonly memoryBytes: number;
  /** What the engine takes where no `memoryBudget` is given. */
  readonly budgetBytes: number;
  /** What that is, for a note. */
  readonly budgetWords: string;
}

interface MachineOptions {
  readonly machines?: readonly string[] | undefined;
  readonly webgpu?: { readonly memoryBudget?: number | undefined } | undefined;
}

const GIB = 2 ** 30;
const NAMES: Readonly<Record<MemoryKind, string>> = { mac: 'Mac', card: 'card', integrated: 'integrated' };
const MOST_GIB = 1024;

/** What plans compare: usual Macs, and cards. */
const USUAL_MACHINES: readonly string[] = [
  ...['mac16', 'mac24', 'mac32', 'mac64'],
  ...['card8', 'card12', 'card16', 'card24'],
];

/**
 * A machine from its kind and gigabytes, as `mac16`, `Mac 16GB` or `card-24gb`.
 * @throws ConfigError for anything else
 */
function machineNamed(name: string): Machine {
  const [, kind, size] = /^(mac|card|integrated)[ _-]?(\d{1,4})(?:[ _-]?gi?b)?$/i.exec(name.trim()) ?? [];
  const gigabytes = Number(size);
  if (kind === undefined || gigabytes < 1 || gigabytes > MOST_GIB) {
    throw new ConfigError(`plan: \`machines\`: expected a kind and its gigabytes, got ${showValue(name)}`, {
      hint:
        'Write mac16 for a Mac with 16 GB, card24 for a GPU with 24 GB of its own, integrated32 for one that shares the ' +
        '32 GB of its system.',
    });
  }
  const known = kind.toLowerCase() as MemoryKind;
  const { share, words } = MEMORY_SHARES[known];
  const memoryBytes = gigabytes * GIB;
  return { name: `${NAMES[known]} ${gigabytes}GB`, memoryBytes, budgetBytes: share * memoryBytes, budgetWords: words };
}

/** @throws ConfigError for a name that is none */
export function wantedMachines({ machines, webgpu }: MachineOptions): readonly Machine[] {
  const budget = webgpu?.memoryBudget;
  if (machines === undefined && budget !== undefined && Number.isFinite(budget)) return [machineOfBudget(budget)];
  const named = (machines ?? USUAL_MACHINES).map(machineNamed);
  return named.filter(({ name }, i) => named.findIndex((one) => one.name === name) === i);
}

/** What the figures rest on. @param memoryBudget where one is given */
export function notesOfMachines(machines: readonly Machine[], memoryBudget: number | undefined): string[] {
  const budgets = [...new Set(machines.map(({ name, budgetWords }) => `${name.replace(/ .*/, '')}: ${budgetWords}`))];
  const isCard = machines.some(({ name }) => name.startsWith(NAMES.card));
  return [
    'no time is told: of the GPUs that WebGPU reaches one was measured, an H200 (docs/performance-webgpu.md)',
    'GiB are what the engine holds at most, and 0.1 of the driver, as measured there through Vulkan; the engine takes ' +
      'memory in pieces of a sixteenth of its budget, so that a system may show up to one more, never more than the budget',
    ...(memoryBudget === undefined
      ? [`budgets are the engine's own, ${budgets.join('; ')}; memoryBudget sets another`]
      : []),
    ...(isCard && memoryBudget === undefined
      ? [
          `a card whose memory nothing tells, such as AMD's and Intel's under Windows, counts as ${UNKNOWN_MEMORY_BYTES / GIB} ` +
            'GiB until memoryBudget is set',
        ]
      : []),
    'a tenth of a budget is left alone, as free memory lies in pieces; evaluation and generation are not planned',
  ];
}

/** Any machine whose GPU has so much, where a budget alone is given. */
function machineOfBudget(bytes: number): Machine {
  const name = `${Number((bytes / GIB).toFixed(1))} GiB`;
  return { name, memoryBytes: bytes, budgetBytes: bytes, budgetWords: 'as memoryBudget says' };
}
