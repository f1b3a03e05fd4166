/** How much memory a GPU may be taken to have, which WebGPU does not say. */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hostMemory } from '../host-memory.js';
import type { OpenDevice } from './load-webgpu.js';

/** Bytes, and where they are from: for the engine's description. */
export interface MemorySize {
  readonly bytes: number;
  readonly source: string;
}

/** What is looked at; a test gives stand-ins. */
export interface MachineFacts {
  readonly platform: string;
  /** Bytes of the system. */
  readonly systemBytes: number;
  /** Lines of name, total and free MiB, one a card; rejects where there is no nvidia-smi. */
  nvidiaSmi(): Promise<string>;
  /** Bytes of the video memory of each AMD card, as Linux shows them. */
  amdMemory(): Promise<readonly number[]>;
}

/** Whose memory a GPU computes with. */
export type MemoryKind = 'mac' | 'card' | 'integrated';

/** What the budget is of that memory where none is given, and why. */
export const MEMORY_SHARES: Readonly<Record<MemoryKind, { readonly share: number; readonly words: string }>> = {
  /** Metal lets a GPU have about this much of the memory that it shares with the system. */
  mac: { share: 2 / 3, words: "two thirds of the system's memory" },
  /** The driver, and whatever draws the screen, have the rest. */
  card: { share: 0.92, words: "92 % of the card's memory" },
  /** Of the system's memory, where an integrated GPU or a processor computes with it. */
  integrated: { share: 1 / 2, words: "half of the system's memory" },
};

/** Cards with less than this are integrated ones, which take what they need from the system. */
const SMALLEST_CARD = 2 * 2 ** 30;
/** Where nothing is known: the smallest cards that models are trained on have so much. */
export const UNKNOWN_MEMORY_BYTES = 6 * 2 ** 30;
const MIB = 2 ** 20;
const NVIDIA_SMI_MS = 5_000;

/** The budget where none is given. */
export async function memorySize(
  { info, isSoftware }: Pick<OpenDevice, 'info' | 'isSoftware'>,
  facts: MachineFacts = MACHINE,
): Promise<MemorySize> {
  const { systemBytes, platform } = facts;
  const vendor = `${info.vendor ?? ''} ${info.description ?? ''} ${info.device ?? ''}`.toLowerCase();
  const ofSystem = (kind: 'mac' | 'integrated'): MemorySize => {
    const { share, words } = MEMORY_SHARES[kind];
    return { bytes: share * systemBytes, source: words };
  };
  if (isSoftware) return ofSystem('integrated');
  if (vendor.includes('apple') || platform === 'darwin') return ofSystem('mac');
  if (vendor.includes('nvidia')) {
    const card = await nvidiaCard(vendor, facts).catch(() => undefined);
    if (card) return card;
  }
  if (/\bamd\b|radeon/.test(vendor) && platform === 'linux') {
    const most = Math.max(0, ...(await facts.amdMemory().catch(() => [])));
    if (most >= SMALLEST_CARD)
      return { bytes: MEMORY_SHARES.card.share * most, source: '92 % of what Linux says the card has' };
    if (most > 0) return ofSystem('integrated');
  }
  // Intel's cards of their own are called Arc A or B and a number.
  if (vendor.includes('intel') && !/\barc\b.*\b[ab]\d{2,3}/.test(vendor)) return ofSystem('integrated');
  return {
    bytes: Math.min(UNKNOWN_MEMORY_BYTES, ofSystem('integrated').bytes),
    source: 'a guess, as nothing here says what the GPU has: set memoryBudget',
  };
}

/** The card of this name; of several the one with the least memory. */
async function nvidiaCard(vendor: string, facts: MachineFacts): Promise<MemorySize | undefined> {
  const cards = (await facts.nvidiaSmi())
    .split('\n')
    .map((line) => line.split(',').map((cell) => cell.trim()))
    .map(([name = '', total, free]) => ({ name: name.toLowerCase(), total: Number(total), free: Number(free) }))
    .filter(({ name, total }) => name !== '' && total > 0);
  const named = cards.filter(({ name }) => vendor.includes(name));
  const [card] = (named.length > 0 ? named : cards).sort((a, b) => a.total - b.total);
  if (!card) return undefined;
  const usual = MEMORY_SHARES.card.share * card.total;
  // What others hold is not there.
  if (card.free >= usual || !Number.isFinite(card.free)) {
    return { bytes: Math.floor(usual * MIB), source: '92 % of what nvidia-smi says the card has' };
  }
  return {
    bytes: Math.floor(MEMORY_SHARES.card.share * card.free * MIB),
    source: '92 % of what nvidia-smi says is free',
  };
}

const MACHINE: MachineFacts = {
  platform: process.platform,
  systemBytes: hostMemory(),
  nvidiaSmi: () =>
    new Promise((resolve, reject) => {
      const query = ['--query-gpu=name,memory.total,memory.free', '--format=csv,noheader,nounits'];
      const options = { timeout: NVIDIA_SMI_MS, windowsHide: true, encoding: 'utf8' } as const;
      execFile('nvidia-smi', query, options, (error, stdout) => (error ? reject(error) : resolve(stdout)));
    }),
  amdMemory: async () => {
    const folder = '/sys/class/drm';
    const cards = (await readdir(folder)).filter((name) => /^card\d+$/.test(name));
    const texts = await Promise.all(
      cards.map((card) => readFile(join(folder, card, 'device/mem_info_vram_total'), 'utf8').catch(() => '')),
    );
    return texts.map(Number).filter((bytes) => bytes > 0);
  },
};
