/** NVIDIA cards by their data sheets: what a plan compares. */

import { ConfigError } from '../errors.js';
import { nearestName } from '../messages/nearest-name.js';
import { showValue } from '../messages/show-value.js';

/** A card, by its data sheet. */
export interface Card {
  /** Name, with the memory that it is sold by. */
  readonly name: string;
  /** Bytes that nvidia-smi shows as its total. */
  readonly memoryBytes: number;
  /** Compute capability as one number: 90 is 9.0. */
  readonly capability: number;
  readonly multiprocessors: number;
  /** 10^12 operations a second of dense bfloat16 products with float32 sums. */
  readonly bf16Tflops: number;
  /** The same of e4m3 products; undefined for cards without. */
  readonly fp8Tflops?: number | undefined;
  /** 10^9 bytes a second of its memory. */
  readonly memoryGbs: number;
  /** 10^9 bytes a second from the host, each way: PCIe 4.0 x16 has 32, 5.0 x16 has 64. */
  readonly hostGbs: number;
  /** Where the figures are from. */
  readonly source: string;
  /** The kernels compile for its architecture, but have never run there. */
  readonly isUntried?: boolean | undefined;
}

const MIB = 2 ** 20;
const ADA = 'NVIDIA Ada GPU Architecture white paper, appendix A';
const GA102 = 'NVIDIA Ampere GA102 GPU Architecture white paper, appendix';

/**
 * Dense rates: data sheets print those with sparsity, twice as high. GeForce cards sum bfloat16 products in float32 at half
 * the rate that is printed for float16 sums.
 */
const CARDS: readonly Card[] = [
  {
    name: 'RTX 3060 12GB',
    memoryBytes: 12_288 * MIB,
    capability: 86,
    multiprocessors: 28,
    bf16Tflops: 25.5,
    memoryGbs: 360,
    hostGbs: 32,
    source: `${GA102}; GeForce RTX 3060 specifications`,
  },
  {
    name: 'RTX 4080 16GB',
    memoryBytes: 16_376 * MIB,
    capability: 89,
    multiprocessors: 76,
    bf16Tflops: 97.5,
    fp8Tflops: 195,
    memoryGbs: 716.8,
    hostGbs: 32,
    source: ADA,
  },
  {
    name: 'RTX 3090 24GB',
    memoryBytes: 24_576 * MIB,
    capability: 86,
    multiprocessors: 82,
    bf16Tflops: 71,
    memoryGbs: 936,
    hostGbs: 32,
    source: GA102,
  },
  {
    name: 'RTX 4090 24GB',
    memoryBytes: 24_564 * MIB,
    capability: 89,
    multiprocessors: 128,
    bf16Tflops: 165.2,
    fp8Tflops: 330.3,
    memoryGbs: 1008,
    hostGbs: 32,
    source: ADA,
  },
  {
    name: 'L4 24GB',
    memoryBytes: 23_034 * MIB,
    capability: 89,
    multiprocessors: 58,
    bf16Tflops: 121,
    fp8Tflops: 242,
    memoryGbs: 300,
    hostGbs: 32,
    source: 'NVIDIA L4 data sheet',
  },
  {
    name: 'RTX 5090 32GB',
    memoryBytes: 32_607 * MIB,
    capability: 120,
    multiprocessors: 170,
    bf16Tflops: 209.5,
    fp8Tflops: 419,
    memoryGbs: 1792,
    hostGbs: 64,
    source: 'NVIDIA RTX Blackwell GPU Architecture white paper, appendix A',
    isUntried: true,
  },
  {
    name: 'A100 PCIe 40GB',
    memoryBytes: 40_960 * MIB,
    capability: 80,
    multiprocessors: 108,
    bf16Tflops: 312,
    memoryGbs: 1555,
    hostGbs: 32,
    source: 'NVIDIA A100 data sheet',
  },
  {
    name: 'L40S 48GB',
    memoryBytes: 46_068 * MIB,
    capability: 89,
    multiprocessors: 142,
    bf16Tflops: 362,
    fp8Tflops: 733,
    memoryGbs: 864,
    hostGbs: 32,
    source: 'NVIDIA L40S data sheet',
  },
  {
    name: 'A100 SXM 80GB',
    memoryBytes: 81_920 * MIB,
    capability: 80,
    multiprocessors: 108,
    bf16Tflops: 312,
    memoryGbs: 2039,
    hostGbs: 32,
    source: 'NVIDIA A100 data sheet',
  },
  {
    name: 'H100 SXM 80GB',
    memoryBytes: 81_559 * MIB,
    capability: 90,
    multiprocessors: 132,
    bf16Tflops: 989,
    fp8Tflops: 1979,
    memoryGbs: 3350,
    hostGbs: 64,
    source: 'NVIDIA H100 data sheet',
  },
  {
    name: 'H200 SXM 141GB',
    memoryBytes: 143_771 * MIB,
    capability: 90,
    multiprocessors: 132,
    bf16Tflops: 989,
    fp8Tflops: 1979,
    memoryGbs: 4800,
    hostGbs: 64,
    source: 'NVIDIA H200 data sheet',
  },
  {
    name: 'B200 SXM 180GB',
    memoryBytes: 183_359 * MIB,
    capability: 100,
    multiprocessors: 148,
    bf16Tflops: 2250,
    fp8Tflops: 4500,
    memoryGbs: 8000,
    hostGbs: 64,
    source: 'NVIDIA HGX B200 and DGX B200 data sheets',
    isUntried: true,
  },
];

/** Figures of this card were measured; those of others are scaled from them. */
export const MEASURED_CARD = 'H200 SXM 141GB';

/** One for each size that plans compare: 12, 16, 24, 40, 48, 80 and 141 GB. */
export const USUAL_CARDS: readonly string[] = [
  'RTX 3060 12GB',
  'RTX 4080 16GB',
  'RTX 4090 24GB',
  'A100 PCIe 40GB',
  'L40S 48GB',
  'H100 SXM 80GB',
  'H200 SXM 141GB',
];

/** What nvidia-smi writes into names beside those of the table. */
const SMI_WORDS = /\b(nvidia|geforce|hbm\d\w?)\b/g;

/**
 * The card of that name, in full, as `h200` or `rtx-4090`, or as nvidia-smi shows it. Whole words count: an H20 is no
 * H200, and an L40 no L40S.
 * @throws ConfigError naming those that are known
 */
export function cardNamed(name: string, what: string): Card {
  const wanted = name
    .toLowerCase()
    .replace(SMI_WORDS, '')
    .replace(/\bsxm\d\b/g, 'sxm')
    .replace(/[^a-z0-9]/g, '');
  const found = CARDS.filter((card) => {
    const words = card.name.toLowerCase().split(' ');
    return wanted !== '' && new RegExp(`^${words.map((word) => `(?:${word})?`).join('')}$`).test(wanted);
  });
  if (found.length === 1) return found[0]!;
  const names = CARDS.map((card) => card.name);
  const near = nearestName(name, names);
  throw new ConfigError(
    found.length > 1
      ? `${what}: "${name}" may be ${found.map((card) => card.name).join(' or ')}`
      : `${what}: the card ${showValue(name)} is not in the table${near ? `; did you mean "${near}"?` : ''}`,
    { hint: `Known are ${names.join(', ')}.`, details: { known: names } },
  );
}
