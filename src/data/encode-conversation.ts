/** From a conversation to token ids, with the answers marked by their place in the template. */
import { TextError } from '../errors.js';
import type { ChatTemplate, RenderOptions } from './chat-template.js';
import type { MinistralTokenizer } from './tokenizer.js';
import type { Message } from './types.js';

export interface EncodedConversation {
  /** Exactly one BOS, in front. A picture is one image token. */
  readonly ids: number[];
  /** True on the tokens of an answer: the assistant's text up to and with the EOS that closes it. */
  readonly isAnswer: boolean[];
  /** Indices into `ids` of the image tokens. */
  readonly imagePositions: number[];
}

/** A stretch of plain text, or one control token of the template. */
type Unit =
  | { readonly text: string; readonly fromTemplate: boolean; isAnswer: boolean; readonly id?: undefined }
  | { readonly id: number; isAnswer: boolean };

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
  options: RenderOptions = {},
): EncodedConversation {
  requireSameNames(tokenizer, template);
  const units = template.segments(messages, options).flatMap((segment): Unit[] => {
    const { text, fromTemplate, isAssistantText } = segment;
    if (!fromTemplate) return [{ text, fromTemplate, isAnswer: isAssistantText }];
    return tokenizer
      .splitControlTokens(text)
      .map((piece) =>
        piece.id === undefined
          ? { text: piece.text, fromTemplate, isAnswer: false }
          : { id: piece.id, isAnswer: false },
      );
  });
  closeAnswers(units, tokenizer.eosTokenId);

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
  requireOneBos(ids, isAnswer, tokenizer);
  const imagePositions = ids.flatMap((id, i) => (id === tokenizer.imageTokenId ? i : []));
  return { ids, isAnswer, imagePositions };
}

/**
 * Extends each answer over what the template writes between its parts and up to the EOS that closes it: the model has
 * to produce all of that, and EOS above all. Any other control token or message in between ends the answer.
 */
function closeAnswers(units: Unit[], eosTokenId: number): void {
  for (let i = 0; i < units.length; i++) {
    const unit = units[i]!;
    if (unit.id !== undefined || !unit.isAnswer) continue;
    let end = i + 1;
    while (end < units.length && isTemplateText(units[end]!)) end++;
    const next = units[end];
    if (next && (next.id === eosTokenId || (next.id === undefined && next.isAnswer))) {
      for (let j = i + 1; j <= end; j++) units[j]!.isAnswer = true;
    }
  }
}

function isTemplateText(unit: Unit): boolean {
  return unit.id === undefined && unit.fromTemplate && !unit.isAnswer;
}

/** Encodes neighbouring texts as one. A token belongs to the answer if any of its bytes does. */
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
