/** What is wrong with a chat template for a conversation, in words. */
import { TextError, type TuneErrorOptions } from '../errors.js';
import { warningLine } from '../messages/one-line.js';
import { missingLeaves } from './assistant-spans.js';
import { OperandError } from './jinja/error.js';
import { looksLikeToken, type Piece } from './marked-texts.js';
import { FORMS, type Leaf, type RenderRequest, viewOf } from './template-view.js';
import type { ContentPart, Message } from './types.js';

const formFaults = new WeakSet<TextError>();

/** Whether a template may have failed for the form of the content: a list where it takes strings. */
export function isAboutForm(error: TextError): boolean {
  return formFaults.has(error);
}

/** Whether it failed for the form alone, with nothing that the template says itself. */
export function isAboutType(error: TextError): boolean {
  const { cause } = error;
  return isAboutForm(error) && (!(cause instanceof Error) || cause instanceof OperandError);
}

function aboutForm(message: string, options: TuneErrorOptions): TextError {
  const error = new TextError(message, options);
  formFaults.add(error);
  return error;
}

/** The template raised an error, or cannot do what it wants to do with the content. */
export function refused(cause: Error, messages: readonly Message[]): TextError {
  const hasList = messages.some(({ content }) => typeof content !== 'string');
  if (hasList && cause instanceof OperandError && cause.types.includes('list')) return leaked(messages, cause);
  return aboutForm(`the chat template refuses the conversation: ${warningLine(cause.message)}`, {
    hint: refusalHint(messages),
    details: { roles: messages.map((message) => message.role) },
    cause,
  });
}

function refusalHint(messages: readonly Message[]): string {
  const own = 'the message is the template’s own; check roles and their order';
  const has = (type: ContentPart['type']) =>
    messages.some(({ content }) => typeof content !== 'string' && content.some((part) => part.type === type));
  if (has('thinking')) return `${own}; thoughts need a template that knows them, as that of a Reasoning checkpoint`;
  if (has('image'))
    return `${own}; images need a template for vision models, whose user messages may be lists of parts`;
  if (messages.some(({ tool_calls }) => tool_calls)) {
    return `${own}, and that it takes calls of tools: some want an id of nine characters, others arguments as an object`;
  }
  return own;
}

/** The template printed the list of parts itself, as a template for plain strings does. */
export function leaked(messages: readonly Message[], cause?: Error): TextError {
  const special = messages.findIndex(
    ({ content }) => typeof content !== 'string' && content.some((part) => part.type !== 'text'),
  );
  const index = special >= 0 ? special : messages.findIndex(({ content }) => typeof content !== 'string');
  const types = messages.flatMap(({ content }) => (typeof content === 'string' ? [] : content.map(({ type }) => type)));
  const others = [...new Set(types)].filter((type) => type !== 'text');
  return aboutForm(
    `the chat template takes strings as content: it ${cause ? 'cannot join' : 'would write as data'} the list of parts of ` +
      `message ${index} (${messages[index]?.role})${others.length > 0 ? `, and has no place for ${others.join(' and ')} parts` : ''}`,
    {
      hint: 'use a template that goes through the parts of a message, as that of a vision model or TUTORIAL_TEMPLATE',
      details: { index, role: messages[index]?.role, types: [...new Set(types)] },
      ...(cause && { cause }),
    },
  );
}

/** A template that drops what it was given would train on something else than the data says. */
export function requireComplete(pieces: readonly Piece[], leaves: readonly Leaf[], request: RenderRequest): void {
  const { messages, addGenerationPrompt } = request;
  const lastAsked = messages.findLastIndex((message) => message.role !== 'assistant');
  const lastUser = messages.findLastIndex((message) => message.role === 'user');
  const [missing] = missingLeaves(pieces, leaves, ({ kind, messageIndex }) => {
    // A template may not know tools; the first ones of Mistral leave out calls, others thoughts, of earlier turns.
    if (messageIndex === undefined) return false;
    if (kind !== 'text' && messageIndex < lastUser) return false;
    // With a generation prompt a template may well leave out the answer that is to be generated.
    return !(addGenerationPrompt && messageIndex > lastAsked);
  });
  if (!missing) return;
  const { kind, messageIndex, role, text } = missing;
  const what = { text: 'text', thinking: 'a thought', call: 'a tool call', result: 'the tool’s answer' };
  const error = new TextError(
    `the chat template leaves out ${what[kind as keyof typeof what]} of message ${messageIndex} (${role})`,
    {
      hint:
        kind === 'text'
          ? 'use a template that knows this role and kind of content'
          : 'use the template of a checkpoint that knows tools and thoughts (those of Ministral 3 know both)',
      details: { messageIndex, role, text: text.slice(0, 200) },
    },
  );
  // A thought may be looked for beside the content.
  if (kind === 'thinking') formFaults.add(error);
  throw error;
}

export function requireHarmless({ tools }: RenderRequest): void {
  const strings: string[] = [];
  viewOf({ messages: [], tools }, FORMS[0]!, 'leak', ({ text }) => {
    strings.push(text);
    return text;
  });
  const bad = strings.find(looksLikeToken);
  if (bad === undefined) return;
  throw new TextError('the chat template changes the tools, and one of their texts could pass for a control token', {
    hint: 'take names in square or angle brackets out of the descriptions of the tools',
    details: { text: bad.slice(0, 200) },
  });
}
