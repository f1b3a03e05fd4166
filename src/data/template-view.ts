/** What a chat template sees of a conversation: plain JSON, with a hook at every string that is not ours. */
import { TextError } from '../errors.js';
import type { ContentPart, Message, Tool, ToolCall } from './types.js';

type LeafKind =
  | 'text'
  | 'thinking'
  /** The name of a called tool, its arguments, or a string among them. */
  | 'call'
  | 'result'
  /** The name of a tool that may be called. */
  | 'tool'
  /** Names, ids, keys, and the other strings of tool definitions. */
  | 'detail';

export interface Leaf {
  readonly kind: LeafKind;
  /** Absent in definitions of tools. */
  readonly messageIndex?: number;
  readonly role?: Message['role'];
  readonly text: string;
}

export type Put = (leaf: Leaf) => string;

/** How content is handed on: some templates know strings alone, some lists of parts alone. */
type Form = 'given' | 'string' | 'list';

export interface Forms {
  readonly user: Form;
  readonly others: Form;
  /** The template looks for thoughts in `reasoning_content`, beside a string. */
  readonly reasoning?: boolean;
}

interface Conversation {
  readonly messages: readonly Message[];
  readonly tools?: readonly Tool[] | undefined;
}

export interface RenderRequest extends Conversation {
  readonly addGenerationPrompt: boolean;
}

/** Of lists and objects in one another; templates take less. */
const MAX_DEPTH = 100;

/** In the order in which they are tried; the first is what transformers does. */
export const FORMS: readonly Forms[] = [
  { user: 'given', others: 'given' },
  { user: 'string', others: 'string' },
  { user: 'list', others: 'list' },
  { user: 'list', others: 'string' },
  { user: 'string', others: 'list' },
];

export function changesNothing({ messages }: Conversation, forms: Forms): boolean {
  return messages.every((message) => {
    const form = formOf(message, forms);
    return shaped(message.content, form) === message.content && !isReasoning(message, forms);
  });
}

export function changesLists({ messages }: Conversation, forms: Forms): boolean {
  return messages.some(({ content, role }) => {
    return typeof content !== 'string' && (role === 'user' ? forms.user : forms.others) === 'string';
  });
}

/**
 * The variables of a template.
 * @param leak a key of every part: it is in the rendering only if the template printed the list itself
 */
export function viewOf({ messages, tools }: Conversation, forms: Forms, leak: string, put: Put) {
  return {
    messages: messages.map((message, i) => viewOfMessage(message, i, forms, leak, put)),
    tools: tools?.map((tool) => mapStrings(tool, toolPut(put))) ?? null,
    documents: null,
  };
}

function formOf({ role }: Message, forms: Forms): Form {
  return role === 'user' ? forms.user : forms.others;
}

/** Templates that take parts write texts one after the other, so as one string they are joined without anything. */
function shaped(content: Message['content'], form: Form): Message['content'] {
  if (form === 'list' && typeof content === 'string') return content === '' ? [] : [{ type: 'text', text: content }];
  const isText = typeof content !== 'string' && content.every((part) => part.type === 'text');
  return form === 'string' && isText ? content.map((part) => (part as { text: string }).text).join('') : content;
}

/** Whether thoughts go into `reasoning_content`, where templates of strings look for them. */
function isReasoning({ role, content }: Message, forms: Forms): boolean {
  if (!forms.reasoning || forms.others !== 'string' || role !== 'assistant' || typeof content === 'string')
    return false;
  const texts = content.findIndex((part) => part.type === 'text');
  const last = content.findLastIndex((part) => part.type === 'thinking' && part.closed !== false);
  return last >= 0 && (texts < 0 || last < texts) && content.every((part) => part.type !== 'image');
}

function viewOfMessage(message: Message, messageIndex: number, forms: Forms, leak: string, put: Put) {
  const { role, tool_calls, tool_call_id, name } = message;
  const of = (kind: LeafKind, text: string) => put({ kind, messageIndex, role, text });
  const textKind = role === 'tool' ? 'result' : 'text';
  const part = (given: ContentPart): Record<string, unknown> => {
    if (given.type === 'text') return { type: 'text', text: of(textKind, given.text), [leak]: '' };
    if (given.type === 'image') return { type: 'image', [leak]: '' };
    const closed = given.closed === undefined ? {} : { closed: given.closed };
    return { type: 'thinking', thinking: of('thinking', given.thinking), ...closed, [leak]: '' };
  };
  const content = shaped(message.content, formOf(message, forms));
  const join = (parts: readonly ContentPart[], kind: 'text' | 'thinking') => {
    return parts.flatMap((given) => (given.type === kind ? String(part(given)[kind]) : [])).join('');
  };
  return {
    role,
    ...(isReasoning(message, forms) && typeof content !== 'string'
      ? { content: join(content, 'text'), reasoning_content: join(content, 'thinking') }
      : { content: typeof content === 'string' ? of(textKind, content) : content.map(part) }),
    ...(tool_calls && { tool_calls: tool_calls.map((call) => viewOfCall(call, of)) }),
    ...(tool_call_id !== undefined && { tool_call_id: of('detail', tool_call_id) }),
    ...(name !== undefined && { name: of('detail', name) }),
  };
}

/** A call with the keys that it has, in their order: templates may write all of it as JSON. */
function viewOfCall(call: ToolCall, of: (kind: LeafKind, text: string) => string): Record<string, unknown> {
  const entries = Object.entries(call).map(([key, value]) => {
    if (key !== 'function') return [key, mapStrings(value, (text) => of('detail', text))];
    const inner = Object.entries(value as ToolCall['function']).map(([name, part]) => [
      name,
      mapStrings(
        part,
        (text) => of('call', text),
        (text) => of('detail', text),
      ),
    ]);
    return [key, Object.fromEntries(inner)];
  });
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined)) as Record<string, unknown>;
}

function toolPut(put: Put) {
  return (text: string, path: readonly string[]): string =>
    put({ kind: path.join('.') === 'function.name' ? 'tool' : 'detail', text });
}

/** A copy of a JSON value with its strings changed; keys that are undefined are left out. */
function mapStrings(
  value: unknown,
  change: (text: string, path: readonly string[]) => string,
  changeKey: (text: string) => string = (text) => change(text, ['']),
  path: readonly string[] = [],
): unknown {
  if (typeof value === 'string') return change(value, path);
  if (typeof value !== 'object' || value === null) return value;
  if (path.length > MAX_DEPTH) {
    throw new TextError(`tools or arguments lie more than ${MAX_DEPTH} deep in one another`, {
      hint: 'no template takes that: keep JSON Schemas and arguments flatter',
    });
  }
  if (Array.isArray(value)) return value.map((item) => mapStrings(item, change, changeKey, [...path, '[]']));
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .map(([key, item]) => [changeKey(key), mapStrings(item, change, changeKey, [...path, key])]),
  );
}

/** Whether a message is an answer to learn: `weight` and `train`, which `checkMessage` compares, may say that it is not. */
export function isLearned({ role, weight, train }: Message): boolean {
  return role === 'assistant' && weight !== 0 && train !== false;
}
