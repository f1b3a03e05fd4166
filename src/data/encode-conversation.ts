/** From a conversation to token ids, with the answers marked by their place in the template. */
import { TextError } from '../errors.js';
import type { ChatTemplate, RenderOptions, TemplateSegment } from './chat-template.js';
import { partsOf } from './sft-messages.js';
import type { MinistralTokenizer } from './tokenizer.js';
import type { AnswerFrame, Message } from './types.js';

export interface EncodedConversation {
  /** Exactly one BOS, in front. An image is one image token. */
  readonly ids: number[];
  /** True on the tokens of an answer: the assistant's text up to and with the token that closes it. */
  readonly isAnswer: boolean[];
  /** Indices into `ids` of the image tokens. */
  readonly imagePositions: number[];
  readonly leftOut: readonly string[];
}

interface EncodeConversationOptions extends RenderOptions {
  /** Names of control tokens in the texts are control tokens. Default false. */
  readonly parseSpecialTokens?: boolean;
}

type Unit = { isAnswer: boolean; readonly isCall: boolean; readonly answerIndex: number | undefined } & (
  | { readonly text: string; readonly fromTemplate: boolean; readonly id?: undefined }
  | { readonly id: number; readonly fromTemplate?: undefined }
);

/**
 * Encodes a conversation.
 *
 * Only the template's own text is searched for control tokens. All plain text between two of them is encoded as one
 * string, because BPE may merge across the border of template and message (`[INST]\n` + text); so the ids equal those
 * of `tokenizer(rendered, add_special_tokens=False)` for every message that does not spell a control token.
 * @throws TextError if the template refuses the conversation, if BOS stands anywhere but once in front, or if template
 *   and tokenizer have different names for BOS or EOS
 */
export function encodeConversation(
  tokenizer: MinistralTokenizer,
  template: ChatTemplate,
  messages: readonly Message[],
  options: EncodeConversationOptions = {},
): EncodedConversation {
  requireSameNames(tokenizer, template);
  const { parseSpecialTokens, ...rendering } = options;
  const segments = template.segments(messages, rendering);
  const units = segments.flatMap(({ text, fromTemplate, isLearned, isCall = false, answerIndex }): Unit[] => {
    const about = { isAnswer: isLearned, isCall, answerIndex };
    if (!fromTemplate && !parseSpecialTokens) return [{ text, fromTemplate, ...about }];
    return tokenizer
      .splitControlTokens(text)
      .map((piece) =>
        piece.id === undefined ? { text: piece.text, fromTemplate, ...about } : { id: piece.id, ...about },
      );
  });
  // `{% generation %}` says itself where an answer ends.
  if (!template.marksAnswers) closeAnswers(units, closingIds(tokenizer, template), messages);

  const ids: number[] = [];
  const isAnswer: boolean[] = [];
  for (let i = 0; i < units.length; ) {
    const unit = units[i]!;
    if (unit.id !== undefined) {
      ids.push(unit.id);
      isAnswer.push(unit.isAnswer);
      i++;
      continue;
    }
    const run: { text: string; isAnswer: boolean }[] = [];
    for (let next = units[i]; next && next.id === undefined; next = units[++i]) run.push(next);
    encodeRun(tokenizer, run, ids, isAnswer);
  }
  requireImageOrder(segments, messages, tokenizer);
  requireOneBos(ids, isAnswer, tokenizer);
  const imagePositions = ids.flatMap((id, i) => (id === tokenizer.imageTokenId ? i : []));
  // A model writes no images, wherever they stand.
  for (const position of imagePositions) isAnswer[position] = false;
  return { ids, isAnswer, imagePositions, leftOut: leftOut(segments, messages, options) };
}

/** Of templates and the tokenizer that last asked: it is the same for every sample of a run. */
const knownEnds = new WeakMap<ChatTemplate, KnownEnds>();

interface KnownEnds {
  readonly tokenizer: MinistralTokenizer;
  readonly ends: number[];
  readonly closing: Set<number>;
  frame?: AnswerFrame;
}

function endsOf(tokenizer: MinistralTokenizer, template: ChatTemplate): KnownEnds {
  const known = knownEnds.get(template);
  if (known?.tokenizer === tokenizer) return known;
  const ids = tokenizer.splitControlTokens(template.answerTail()).flatMap(({ id }) => id ?? []);
  const { eosTokenId, bosTokenId } = tokenizer;
  const ends = ids.includes(eosTokenId) ? [eosTokenId] : ids.filter((id) => id !== bosTokenId).slice(0, 1);
  const found: KnownEnds = { tokenizer, ends, closing: new Set([eosTokenId, ...ends]) };
  knownEnds.set(template, found);
  return found;
}

/**
 * The tokens that close an answer in a template: EOS where it writes one after an answer, else the control token that
 * it writes there (`<|im_end|>`). Empty if it writes neither.
 */
export function answerEndIds(tokenizer: MinistralTokenizer, template: ChatTemplate): readonly number[] {
  return endsOf(tokenizer, template).ends;
}

/** What a template writes around an answer that the model has to produce besides its text. */
export function answerFrame(tokenizer: MinistralTokenizer, template: ChatTemplate): AnswerFrame {
  const known = endsOf(tokenizer, template);
  known.frame ??= frameOf(tokenizer, template, known);
  return known.frame;
}

function frameOf(tokenizer: MinistralTokenizer, template: ChatTemplate, { ends, closing }: KnownEnds): AnswerFrame {
  const [first, second] = tokenizer.splitControlTokens(template.answerTail());
  const isClosed = second?.id !== undefined && closing.has(second.id);
  const [end] = ends;
  return {
    before: leadOf(template),
    after: first && first.id === undefined && isClosed ? first.text : '',
    ...(end !== undefined && { end }),
  };
}

/** A text that no template has. */
const PROBE = '\uf8ff';

/** White space between the end of a prompt and an answer; other text there is a fault that runs warn of. */
function leadOf(template: ChatTemplate): string {
  const question: Message = { role: 'user', content: 'a' };
  try {
    const prompt = template.render([question], { addGenerationPrompt: true });
    const answered = template.render([question, { role: 'assistant', content: PROBE }]);
    const end = answered.startsWith(prompt) ? answered.indexOf(PROBE, prompt.length) : prompt.length;
    const lead = answered.slice(prompt.length, Math.max(prompt.length, end));
    return lead.trim() === '' ? lead : '';
  } catch (error) {
    if (error instanceof TextError) return '';
    throw error;
  }
}

export function closingIds(tokenizer: MinistralTokenizer, template: ChatTemplate): ReadonlySet<number> {
  return endsOf(tokenizer, template).closing;
}

/**
 * Extends each answer over what the template writes up to the token that closes it: the model has to produce all of
 * that, and the closing token above all. Any other control token or message in between ends the answer, except that a
 * call of a tool may have control tokens of its own at its end. Two answers in a row may be one to the template; a question
 * between them need not have a text that shows it.
 */
function closeAnswers(units: Unit[], closing: ReadonlySet<number | undefined>, messages: readonly Message[]): void {
  const inARow = (first: Unit, second: Unit): boolean => {
    return messages.slice(first.answerIndex, second.answerIndex).every(({ role }) => role === 'assistant');
  };
  for (let i = 0; i < units.length; i++) {
    const unit = units[i]!;
    if (!unit.isAnswer || closing.has(unit.id)) continue;
    let end = i + 1;
    while (end < units.length && isTemplateText(units[end]!)) end++;
    const next = units[end];
    if (closing.has(next?.id) || (next && next.id === undefined && next.isAnswer && inARow(unit, next))) {
      for (let j = i + 1; j <= end; j++) units[j]!.isAnswer = true;
    } else if (unit.isCall) {
      let last = end;
      while (last < units.length && isOpenTemplate(units[last]!) && !closing.has(units[last]!.id)) last++;
      const isClosed = closing.has(units[last]?.id) && !units[last]!.isAnswer;
      const isAlone = next === undefined || next.id !== undefined;
      const stop = isClosed ? last + 1 : isAlone ? end : i;
      for (let j = i + 1; j < stop; j++) units[j]!.isAnswer = true;
    }
  }
}

function isTemplateText(unit: Unit): boolean {
  return !!unit.fromTemplate && !unit.isAnswer;
}

function isOpenTemplate(unit: Unit): boolean {
  return !unit.isAnswer && (unit.id !== undefined || unit.fromTemplate);
}

/** What the template shows nowhere, and may leave out: see `requireComplete`. */
function leftOut(
  segments: readonly TemplateSegment[],
  messages: readonly Message[],
  { tools }: RenderOptions,
): string[] {
  const shows = (index: number, test: (segment: TemplateSegment) => boolean) =>
    segments.some((segment) => segment.messageIndex === index && test(segment));
  const found: string[] = [];
  if (tools?.length) {
    const text = segments.map((segment) => segment.text).join('');
    if (tools.every((tool) => !text.includes(tool.function.name))) found.push('the tools');
  }
  const hidesCalls = messages.some(({ tool_calls }, i) => tool_calls?.length && !shows(i, ({ isCall }) => !!isCall));
  if (hidesCalls) found.push('calls of tools in earlier turns');
  const hidesThoughts = messages.some(({ content, role }, i) => {
    if (typeof content === 'string' || role !== 'assistant') return false;
    const thoughts = content.flatMap((part) => (part.type === 'thinking' ? part.thinking.trim() : []));
    return thoughts.some((thought) => thought !== '' && !shows(i, (segment) => segment.text.trim() === thought));
  });
  if (hidesThoughts) found.push('thoughts of earlier turns');
  return found;
}

function encodeRun(
  tokenizer: MinistralTokenizer,
  run: readonly { text: string; isAnswer: boolean }[],
  ids: number[],
  isAnswer: boolean[],
): void {
  const { ids: runIds, byteEnds } = tokenizer.encodeText(run.map((piece) => piece.text).join(''));
  let piece = 0;
  let pieceEnd = Buffer.byteLength(run[0]!.text);
  let start = 0;
  for (let t = 0; t < runIds.length; t++) {
    while (pieceEnd <= start) pieceEnd += Buffer.byteLength(run[++piece]!.text);
    let answer = run[piece]!.isAnswer;
    for (let p = piece + 1, at = pieceEnd; at < byteEnds[t]!; at += Buffer.byteLength(run[p++]!.text)) {
      answer ||= run[p]!.isAnswer;
    }
    ids.push(runIds[t]!);
    isAnswer.push(answer);
    start = byteEnds[t]!;
  }
}

/**
 * Each text has the images of earlier messages before it and those of later ones behind it. Where texts alone say so, a
 * template made for one turn may put the image of a second question before the first answer.
 * @throws TextError if an image stands elsewhere
 */
function requireImageOrder(
  segments: readonly TemplateSegment[],
  messages: readonly Message[],
  tokenizer: MinistralTokenizer,
): void {
  const counts = messages.map(({ content }) => partsOf(content).filter((part) => part.type === 'image').length);
  if (counts.every((count) => count === 0)) return;
  const sums = [0];
  for (const count of counts) sums.push(sums.at(-1)! + count);
  const images = segments.map(({ text, fromTemplate }) => {
    return fromTemplate
      ? tokenizer.splitControlTokens(text).filter(({ id }) => id === tokenizer.imageTokenId).length
      : 0;
  });
  // Where the numbers differ no place can be right: the collator says so.
  if (images.reduce((sum, count) => sum + count, 0) !== sums.at(-1)) return;
  let seen = 0;
  for (const [i, { messageIndex, role }] of segments.entries()) {
    seen += images[i]!;
    // System texts may stand in a later turn, as in the first templates of Mistral.
    if (messageIndex === undefined || role === 'system') continue;
    if (seen >= sums[messageIndex]! && seen <= sums[messageIndex + 1]!) continue;
    const isEarly = seen > sums[messageIndex + 1]!;
    throw new TextError(
      `the chat template puts an image of ${isEarly ? 'a later' : 'an earlier'} message ${isEarly ? 'before' : 'behind'} message ${messageIndex} (${role})`,
      {
        hint: 'it is made for a single turn, or gives no image its place; use the template of the model',
        details: { index: messageIndex, role },
      },
    );
  }
}

/** Under another name BOS or EOS would come out as plain text. */
function requireSameNames(tokenizer: MinistralTokenizer, template: ChatTemplate): void {
  for (const name of ['bosToken', 'eosToken'] as const) {
    if (template[name] === tokenizer[name]) continue;
    throw new TextError(`${name} is "${template[name]}" in the chat template, "${tokenizer[name]}" in the tokenizer`, {
      hint: 'load both from the same folder, or pass `{ bosToken: tokenizer.bosToken, eosToken: tokenizer.eosToken }`',
      details: { name, template: template[name], tokenizer: tokenizer[name] },
    });
  }
}

/**
 * A template without BOS gets one. Two are an error and are not collapsed: the template is then not what its author
 * meant, and the same template would double BOS wherever else the adapter is used.
 */
function requireOneBos(ids: number[], isAnswer: boolean[], tokenizer: MinistralTokenizer): void {
  const first = ids.indexOf(tokenizer.bosTokenId);
  if (first < 0) {
    ids.unshift(tokenizer.bosTokenId);
    isAnswer.unshift(false);
    return;
  }
  const count = ids.filter((id) => id === tokenizer.bosTokenId).length;
  if (count > 1 || first > 0) {
    throw new TextError(
      count > 1
        ? `the chat template emits ${tokenizer.bosToken} ${count} times, expected once`
        : `the chat template emits ${tokenizer.bosToken} at token ${first}, expected it in front`,
      { hint: 'let the template begin with {{ bos_token }} and use it nowhere else', details: { count, first } },
    );
  }
}
