/** What is to be known of a sample before a run, told from its text alone. `maskView` shows all of it. */
import type { ChatTemplate } from './chat-template.js';
import { foreignMarkersIn } from './conversations/image-markers.js';
import { closingIds, type EncodedConversation } from './encode-conversation.js';
import { partsOf, textOf } from './sft-messages.js';
import type { MinistralTokenizer } from './tokenizer.js';
import type { Message, Tool } from './types.js';

/** What `VlmCollator.inspect` finds in a sample. */
export interface SampleInspection {
  /** Tokens with a label, image tokens not expanded; the first token of a sample never counts. */
  readonly labels: number;
  /** Answers that are learned without a token that closes them: a model learns to begin them, not to stop. */
  readonly openAnswers: number;
  /** Why, of the chat template; absent if there are none. */
  readonly openReason?: string;
  /** How the chat template asks in another way than it shows answers; absent in most. See `ChatTemplate.promptFault`. */
  readonly promptFault?: string;
  /** Tokens that close the learned answers. */
  readonly endTokens: readonly {
    /** Its id. */
    readonly id: number;
    /** Its name. */
    readonly token: string;
  }[];
  /** Names of control tokens, and `<image>` and its like, that occur in the texts and stay text: how often each. */
  readonly spelledTokens: Readonly<Record<string, number>>;
  /**
   * The sample is longer than the collator's `maxLength` by its text alone, an image counted as one token; absent if it is
   * not, or is cut.
   */
  readonly tooLong?: {
    /** Tokens, at least. */
    readonly length: number;
    /** The collator's option. */
    readonly maxLength: number;
    /** Whether the collator drops it; else it stops the run. */
    readonly isDropped: boolean;
  };
  /** What the chat template does not show: tools, calls and thoughts of earlier turns. */
  readonly leftOut: readonly string[];
}

/** The marker of other tools for an image; here images are parts of a message. */
const MARKERS = ['<image>'];

/** @param maskPrompt the collator's option: without it all tokens but those of images are labelled */
export function inspectConversation(
  tokenizer: MinistralTokenizer,
  template: ChatTemplate,
  { ids, isAnswer, leftOut }: EncodedConversation,
  maskPrompt: boolean,
): Omit<SampleInspection, 'spelledTokens'> {
  const closing = closingIds(tokenizer, template);
  const labels = ids.filter((id, i) => i > 0 && (maskPrompt ? isAnswer[i] : id !== tokenizer.imageTokenId)).length;
  const ends = new Set<number>();
  let openAnswers = 0;
  ids.forEach((id, i) => {
    // An image in an answer is not learned, and does not end it.
    if (!isAnswer[i] || isAnswer[i + 1] || ids[i + 1] === tokenizer.imageTokenId) return;
    // Without the mask what follows an answer is learned too.
    const end = closing.has(id) ? id : maskPrompt ? undefined : ids[i + 1];
    if (end !== undefined && closing.has(end)) ends.add(end);
    else openAnswers++;
  });
  const reason = openAnswers > 0 ? reasonOf(tokenizer, template) : undefined;
  const promptFault = template.promptFault();
  return {
    labels,
    openAnswers,
    ...(reason && { openReason: reason }),
    ...(promptFault !== undefined && { promptFault }),
    endTokens: Array.from(ends, (id) => ({ id, token: tokenizer.idToToken(id) ?? String(id) })),
    leftOut,
  };
}

function reasonOf(tokenizer: MinistralTokenizer, template: ChatTemplate): string {
  const tail = template.answerTail();
  if (tail.trim() === '') return `it writes nothing after an answer, where ${tokenizer.eosToken} should stand`;
  const shown = JSON.stringify(tail.trim().slice(0, 60));
  if (tokenizer.splitControlTokens(tail).every(({ id }) => id === undefined)) {
    return `it closes an answer with ${shown}, which this tokenizer takes for ordinary text`;
  }
  if (template.marksAnswers) return `its {% generation %} block ends before what closes an answer, ${shown}`;
  return `what it writes after an answer is ${shown}`;
}

/** How often the texts spell each control token, and `<image>` and its like where they are none. */
export function spelledTokens(
  tokenizer: MinistralTokenizer,
  messages: readonly Message[],
  tools: readonly Tool[] | undefined,
): Record<string, number> {
  const counts: Record<string, number> = {};
  const add = (token: string) => {
    counts[token] = (counts[token] ?? 0) + 1;
  };
  for (const text of textsOf(messages, tools)) {
    for (const { id } of tokenizer.splitControlTokens(text)) {
      if (id !== undefined && tokenizer.specialTokenIds.has(id)) add(tokenizer.idToToken(id)!);
    }
    for (const marker of foreignMarkersIn(text)) if (tokenizer.tokenToId(marker) === undefined) add(marker);
    for (const marker of MARKERS) {
      if (tokenizer.tokenToId(marker) !== undefined) continue;
      for (let at = text.indexOf(marker); at >= 0; at = text.indexOf(marker, at + marker.length)) add(marker);
    }
  }
  return counts;
}

function textsOf(messages: readonly Message[], tools: readonly Tool[] | undefined): string[] {
  const texts: string[] = [];
  const walk = (value: unknown): void => {
    if (typeof value === 'string') texts.push(value);
    else if (typeof value === 'object' && value !== null) {
      for (const [key, inner] of Object.entries(value)) {
        if (!Array.isArray(value)) texts.push(key);
        walk(inner);
      }
    }
  };
  for (const { content, tool_calls } of messages) {
    texts.push(...partsOf(content).flatMap((part) => textOf(part) ?? []));
    walk(tool_calls?.map((call) => call.function));
  }
  walk(tools);
  return texts;
}
