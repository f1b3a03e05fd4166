/** The samples that rows become. */
import type { SftExample } from '../types.js';

/** A question and its answer as texts, which do not pass through the chat template; the completion is learned. */
export interface PromptCompletionExample {
  /** What is not learned. */
  readonly prompt: string;
  /** What is learned. */
  readonly completion: string;
  /** A name for messages: a file path, an index. */
  readonly id?: string;
}

/** A plain text, all of which is learned; it does not pass through the chat template. */
export interface TextExample {
  /** The whole of it. */
  readonly text: string;
  /** A name for messages: a file path, an index. */
  readonly id?: string;
}

/** One training sample, in any of its forms. */
export type TrainingExample = SftExample | PromptCompletionExample | TextExample;
