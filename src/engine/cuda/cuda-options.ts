/** What the `cuda` engine may be given. */
import { z } from 'zod';
import { type Given, type Mismatch, type NoMismatch, parseOptions } from '../../config.js';
import { memoryBudgetSchema } from '../memory-budget.js';

/** Options of the `cuda` engine: `createEngine('cuda', { cuda: … })`. */
export interface CudaEngineOptions {
  /** Number of the card from 0, of those that CUDA_VISIBLE_DEVICES leaves. Default: LOCAL_RANK if so many are left, else 0. */
  readonly device?: number;
  /**
   * Most bytes of device memory for the process, as nvidia-smi shows it: weights, tensors, context, code and library
   * buffers. Default: all the card has.
   */
  readonly memoryBudget?: number;
  /**
   * Recompute cheap results (norms, gated activations) in backward instead of keeping them: about a third less memory
   * for 2 % more time. Default: true.
   */
  readonly rematerialize?: boolean;
  /**
   * An optimizer step runs in packed passes of up to about so many tokens, fewer where memory requires. Larger passes
   * are a few percent faster and take more memory. Default: 5120; 8192 where layers are streamed.
   */
  readonly tokensPerPass?: number;
  /**
   * What is kept in host memory when weights and a pass do not fit the card or the budget: first the embedding table,
   * then decoder layers, and the inputs that recomputed layers save for backward. `auto` moves no more than needed, `none`
   * moves nothing, an object says what to move. Results are the same bit for bit. Default: `auto`.
   */
  readonly offload?: 'auto' | 'none' | OffloadOptions;
  /** LoRA rank up to which weights need no second copy when an adapter comes. Default: 16. */
  readonly adapterRank?: number;
}

/** What engine `cuda` keeps in host memory. */
export interface OffloadOptions {
  /** The embedding table, of which used rows are uploaded. Default: false. */
  readonly embedding?: boolean;
  /** Decoder layers that are streamed to the card each time they are used, in the format that they are held in. Default: 0. */
  readonly layers?: number;
  /** The inputs that recomputed layers save for backward, always. Default: false. */
  readonly activations?: boolean;
}

const offloadSchema = z.strictObject({
  embedding: z.boolean().optional(),
  layers: z.int().nonnegative().optional(),
  activations: z.boolean().optional(),
});
const optionsSchema = z.strictObject({
  device: z.int().nonnegative().optional(),
  memoryBudget: memoryBudgetSchema().optional(),
  rematerialize: z.boolean().optional(),
  tokensPerPass: z.int().nonnegative().optional(),
  offload: z.union([z.literal(['auto', 'none']), offloadSchema]).optional(),
  adapterRank: z.int().nonnegative().optional(),
} satisfies Record<keyof CudaEngineOptions, z.ZodType>);
type _Input = NoMismatch<
  Mismatch<Given<Omit<z.input<typeof optionsSchema>, 'offload'>>, Given<Omit<CudaEngineOptions, 'offload'>>>
>;
type _Offload = NoMismatch<Mismatch<Given<z.input<typeof offloadSchema>>, Given<OffloadOptions>>>;

/** @param what name of the option, for messages @throws ConfigError listing every fault */
export function requireCudaOptions(options: unknown, what: string): void {
  parseOptions(optionsSchema, options, what);
}
