/** The turns of a conversation as OpenAI, Mistral, TRL, ShareGPT and LLaMA-Factory write them, to messages. */

import { nearestName } from '../../config.js';
import { oneLine } from '../../messages/one-line.js';
import { showValue } from '../../messages/show-value.js';
import { describeKind, isRecord } from '../known-keys.js';
import type { Message, ToolCall } from '../types.js';
import { readContent, readThinking, type TurnEvidence } from './content-parts.js';
import type { RowContext } from './row-context.js';
import { RowFault, readRecord } from './row-fault.js';
import { parseText, readToolCall, readToolCalls } from './tools.js';

const ROLE_KEYS = [
  'role',
  'content',
  'tool_calls',
  'tool_call_id',
  'name',
  'weight',
  'train',
  'prefix',
  'reasoning_content',
  'refusal',
  'annotations',
  'audio',
  'function_call',
];
const FROM_KEYS = ['from', 'value', 'weight', 'train'];
const ROLES: Readonly<Record<string, Message['role'] | 'call'>> = {
  system: 'system',
  developer: 'system',
  user: 'user',
  human: 'user',
  assistant: 'assistant',
  gpt: 'assistant',
  chatgpt: 'assistant',
  bing: 'assistant',
  bard: 'assistant',
  claude: 'assistant',
  bot: 'assistant',
  chatbot: 'assistant',
  model: 'assistant',
  ai: 'assistant',
  tool: 'tool',
  observation: 'tool',
  tool_response: 'tool',
  function_response: 'tool',
  function_call: 'call',
  tool_call: 'call',
};
const TURN_HINT = 'a turn is { "role", "content" }, or { "from", "value" } as ShareGPT has it';

/** @param path the column that holds the turns @throws RowFault */
export function readTurns(value: unknown, path: string, context: RowContext, seen: TurnEvidence): Message[] {
  if (!Array.isArray(value)) {
    const why = typeof value === 'string' ? 'the list itself, not its text' : 'a list of turns';
    throw new RowFault(`\`${path}\`: expected a list, got ${describeKind(value)}`, `write ${why}`);
  }
  if (value.length === 0)
    throw new RowFault(`\`${path}\` is empty`, 'a sample needs at least one question and its answer');
  return value.map((turn: unknown, i) => readTurn(turn, i, path, context, seen));
}

function readTurn(value: unknown, index: number, path: string, context: RowContext, seen: TurnEvidence): Message {
  const place = `message ${index}`;
  if (!isRecord(value)) throw new RowFault(`${place}: expected an object, got ${describeKind(value)}`, TURN_HINT);
  const isShareGpt = !('role' in value) && ('from' in value || 'value' in value);
  const keys = isShareGpt ? FROM_KEYS : ROLE_KEYS;
  const turn = readRecord(value, place, keys, context.ignored, path, TURN_HINT);
  const given = turn[isShareGpt ? 'from' : 'role'];
  if (typeof given !== 'string') {
    const key = isShareGpt ? 'from' : 'role';
    throw new RowFault(`${place}: \`${key}\` is ${given === undefined ? 'missing' : showValue(given)}`, TURN_HINT);
  }
  const where = `${place} (${oneLine(given)})`;
  const role = roleOf(given, where);
  if (isShareGpt) {
    seen.shareGpt = true;
    return fromShareGpt(turn, role, where);
  }
  if (role === 'call') return fromShareGpt({ ...turn, value: turn['content'] }, role, where);
  return fromRole(turn, role, where, path, context, seen);
}

function fromShareGpt(turn: Record<string, unknown>, role: Message['role'] | 'call', where: string): Message {
  const { value } = turn;
  if (typeof value !== 'string') {
    throw new RowFault(
      `${where}: its text is ${value === undefined ? 'missing' : describeKind(value)}`,
      'give it as text',
    );
  }
  if (role !== 'call') return { role, content: value, ...learningOf(turn, role, where) };
  const calls = parseText(value, where);
  const list: ToolCall[] = (Array.isArray(calls) ? calls : [calls]).map((call: unknown) => readToolCall(call, where));
  return { role: 'assistant', content: '', tool_calls: list, ...learningOf(turn, 'assistant', where) };
}

function fromRole(
  turn: Record<string, unknown>,
  role: Message['role'],
  where: string,
  path: string,
  context: RowContext,
  seen: TurnEvidence,
): Message {
  refuseLegacy(turn, where);
  const calls = turn['tool_calls'] === undefined ? [] : readToolCalls(turn['tool_calls'], `${where}: \`tool_calls\``);
  // OpenAI lets users and examples in a system message have names; the id of a call, in no such place.
  if (turn['name'] !== undefined && (role === 'user' || role === 'system')) {
    context.note('userName');
    const { name: _, ...rest } = turn;
    return fromRole(rest, role, where, path, context, seen);
  }
  if (calls.some(({ function: { arguments: given } }) => hasNull(given))) context.note('nullArguments');
  for (const [key, owner] of [
    ['tool_calls', 'assistant'],
    ['reasoning_content', 'assistant'],
    ['prefix', 'assistant'],
    ['tool_call_id', 'tool'],
    ['name', 'tool'],
  ] as const) {
    if (turn[key] === undefined || role === owner || (key === 'tool_calls' && calls.length === 0)) continue;
    throw new RowFault(
      `${where}: \`${key}\` is a key of ${owner === 'tool' ? 'a tool’s message' : 'an assistant’s message'}`,
      `correct the role, or leave the key out with \`ignoreColumns: ['${path}.${key}']\``,
    );
  }
  for (const key of ['tool_call_id', 'name'] as const) {
    if (turn[key] === undefined || typeof turn[key] === 'string') continue;
    throw new RowFault(`${where}: \`${key}\`: expected text, got ${showValue(turn[key])}`, 'write it in quotes');
  }
  if (turn['prefix'] !== undefined && typeof turn['prefix'] !== 'boolean') {
    throw new RowFault(
      `${where}: \`prefix\`: expected true or false, got ${showValue(turn['prefix'])}`,
      'write it without quotes',
    );
  }
  if (turn['prefix'] === true) seen.mistral = true;
  const content = readContent(turn['content'], { role, where, path, hasCalls: calls.length > 0 }, context, seen);
  return {
    role,
    content: readThinking(turn['reasoning_content'], content, where, seen),
    ...(calls.length > 0 && { tool_calls: calls }),
    ...(turn['tool_call_id'] !== undefined && { tool_call_id: turn['tool_call_id'] as string }),
    ...(turn['name'] !== undefined && { name: turn['name'] as string }),
    ...learningOf(turn, role, where),
    ...(turn['prefix'] === true && { prefix: true }),
  };
}

/** Of arguments that are an object: in a text somebody wrote it. */
function hasNull(given: ToolCall['function']['arguments']): boolean {
  return typeof given !== 'string' && Object.values(given).includes(null);
}

/** What OpenAI's answers hold beside their text. */
function refuseLegacy(turn: Record<string, unknown>, where: string): void {
  const isEmpty = (value: unknown) =>
    value === undefined || value === '' || (Array.isArray(value) && value.length === 0);
  if (turn['function_call'] !== undefined) {
    throw new RowFault(
      `${where}: \`function_call\` is the older way to write a call`,
      'write "tool_calls": [{ "id", "type": "function", "function": { "name", "arguments" } }]',
    );
  }
  if (!isEmpty(turn['refusal'])) {
    throw new RowFault(`${where}: it is a \`refusal\``, 'to learn it, write its text as `content`');
  }
  if (!isEmpty(turn['audio'])) throw new RowFault(`${where}: \`audio\` is not supported`, 'leave the row out');
  if (!isEmpty(turn['annotations'])) {
    throw new RowFault(
      `${where}: \`annotations\` are not supported`,
      "leave them out with `ignoreColumns: ['messages.annotations']`",
    );
  }
}

function roleOf(given: string, where: string): Message['role'] | 'call' {
  const plain = given.trim().toLowerCase().replaceAll('-', '_');
  if (Object.hasOwn(ROLES, plain)) return ROLES[plain]!;
  const hint =
    plain === 'function'
      ? 'write "tool" for what a function gave back, with `tool_call_id`; an assistant’s call goes into `tool_calls`'
      : 'roles: system, user, assistant, tool; or ShareGPT’s human, gpt, function_call, observation';
  const near = plain === 'function' ? undefined : nearestName(plain, Object.keys(ROLES));
  throw new RowFault(`${where}: there is no role ${showValue(given)}${near ? `; did you mean "${near}"?` : ''}`, hint);
}

/** Whether an answer is learned, as far as the turn says. */
function learningOf(
  turn: Record<string, unknown>,
  role: Message['role'],
  where: string,
): Pick<Message, 'weight' | 'train'> {
  const { weight, train } = turn;
  if (weight === undefined && train === undefined) return {};
  const key = weight === undefined ? 'train' : 'weight';
  // Data sets of axolotl have the key on every turn; that a question is not learned says what holds anyway.
  const saysNothing = (weight ?? 0) === 0 && (train ?? false) === false;
  if (role !== 'assistant' && !saysNothing) {
    throw new RowFault(
      `${where}: \`${key}\` is a key of an assistant’s message`,
      'remove it: only answers are learned',
    );
  }
  if (weight !== undefined && weight !== 0 && weight !== 1) {
    throw new RowFault(
      `${where}: \`weight\`: expected 0 or 1, got ${showValue(weight)}`,
      '0: the answer is not learned',
    );
  }
  if (train !== undefined && typeof train !== 'boolean') {
    throw new RowFault(
      `${where}: \`train\`: expected true or false, got ${showValue(train)}`,
      'write it without quotes',
    );
  }
  if (weight !== undefined && train !== undefined && (weight === 1) !== train) {
    throw new RowFault(`${where}: \`weight\` and \`train\` say opposite things`, 'keep one of them');
  }
  return {
    ...(weight !== undefined && { weight: weight as 0 | 1 }),
    ...(train !== undefined && { train: train as boolean }),
  };
}
