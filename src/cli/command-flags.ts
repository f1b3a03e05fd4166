/** What the command lines of the shorter commands may give; `train` has a file of its own. */
import type { ENGINES, METHODS, MODES } from './train-flags.js';

/** What the command line of `evaluate` may give. */
export interface EvaluateFlags {
  readonly adapter?: string;
  readonly model?: string;
  readonly data?: string;
  readonly labels?: string;
  readonly split?: 'test' | 'train' | 'validation';
  readonly holdout?: number;
  readonly seed?: number;
  readonly limit?: number;
  readonly prompt?: string;
  readonly system?: string;
  readonly template?: 'own' | 'tutorial';
  readonly mode?: (typeof MODES)[number];
  readonly engine?: (typeof ENGINES)[number];
  readonly quantization?: (typeof METHODS)[number];
  readonly memoryBudget?: number;
  readonly outputDir?: string;
  readonly json?: boolean;
}

/** What the command line of `merge` may give. */
export interface MergeFlags {
  readonly adapter?: string;
  readonly model?: string;
  readonly output?: string;
  readonly json?: boolean;
}

/** What the command line of `push` gives. */
export interface PushFlags {
  /** A folder. */
  readonly dir: string;
  /** `OWNER/NAME`. */
  readonly repo: string;
  readonly private?: boolean;
  readonly message?: string;
  readonly baseModel?: string;
}

/** What the command line of `demo` may give. */
export interface DemoFlags {
  readonly outputDir?: string;
  readonly engine?: (typeof ENGINES)[number];
  readonly live?: boolean;
  readonly json?: boolean;
}
