/** The turns of a conversation as OpenAI, Mistral, TRL, ShareGPT and LLaMA-Factory write them, to messages. */
import { nearestName } from '../../messages/nearest-name.js';
import { oneLine } from '../../messages/one-line.js';
import { showValue } from '../../messages/show-value.js';
import { checkKeysOfRole } from '../check-message.js';
import { aliases, describeKind, isRecord } from '../known-keys.js';
import type { Message, ToolCall } from '../types.js';
import { readContent, readThinking, type TurnEvidence } from './content-parts.js';
import type { RowContext } from './row-context.js';
import { mismatch, RowFault, readRecord } from './row-fault.js';
import { parseText, readToolCall, readToolCalls } from './tools.js';

const ROLE_KEYS =
  'role content tool_calls tool_call_id name weight train prefix reasoning_content refusal annotations audio function_call'.split(
    ' ',
  );
const FROM_KEYS = ['from', 'value', 'weight', 'train'];
const ROLES = aliases({
  system: 'system developer',
  user: 'user human',
  assistant: 'assistant gpt chatgpt bing bard claude bot chatbot model ai',
  tool: 'tool observation tool_response function_response',
  call: 'function_call tool_call',
});
const TURN_HINT = 'a turn is { "role", "content" }, or { "from", "value" } as ShareGPT has it';

/** @param path the column that holds the turns @throws RowFault */
export function readTurns(value: unknown, path: string, context: RowContext, seen: TurnEvidence): Message[] {
  if (!Array.isArray(value)) {
    const why = typeof value === 'string' ? 'the list itself, not its text' : 'a list of turns';
    throw mismatch(`\`${path}\``, 'a list', value, `write ${why}`);
  }
  if (value.length === 0)
    throw new RowFault(`\`${path}\` is empty`, 'a sample needs at least one question and its answer');
  return value.map((turn: unknown, i) => readTurn(turn, i, path, context, seen));
}

function readTurn(value: unknown, index: number, path: string, context: RowContext, seen: TurnEvidence): Message {
  const place = `message ${index}`;
  if (!isRecord(value)) throw mismatch(place, 'an object', value, TURN_HINT);
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
    return fromShareGpt(turn, role, where, path);
  }
  if (role === 'call') return fromShareGpt({ ...turn, value: turn['content'] }, role, where, path);
  return fromRole(turn, role, where, path, context, seen);
}

function fromShareGpt(
  turn: Record<string, unknown>,
  role: Message['role'] | 'call',
  where: string,
  path: string,
): Message {
  const { value } = turn;
  if (typeof value !== 'string') {
    throw new RowFault(
      `${where}: its text is ${value === undefined ? 'missing' : describeKind(value)}`,
      'give it as text',
    );
  }
  checkKeys(turn, role === 'call' ? 'assistant' : role, where, path);
  if (role !== 'call') return { role, content: value, ...learningOf(turn) };
  const calls = parseText(value, where);
  const list: ToolCall[] = (Array.isArray(calls) ? calls : [calls]).map((call: unknown) => readToolCall(call, where));
  return { role: 'assistant', content: '', tool_calls: list, ...learningOf(turn) };
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
  checkKeys({ ...turn, tool_calls: calls.length > 0 ? calls : undefined }, role, where, path);
  if (turn['prefix'] === true) seen.mistral = true;
  const content = readContent(turn['content'], { role, where, path, hasCalls: calls.length > 0 }, context, seen);
  return {
    role,
    content: readThinking(turn['reasoning_content'], content, where, seen),
    ...(calls.length > 0 && { tool_calls: calls }),
    ...(turn['tool_call_id'] !== undefined && { tool_call_id: turn['tool_call_id'] as string }),
    ...(turn['name'] !== undefined && { name: turn['name'] as string }),
    ...learningOf(turn),
    ...(turn['prefix'] === true && { prefix: true }),
  };
}

/** Of arguments that are an object: in a text somebody wrote it. */
function hasNull(given: ToolCall['function']['arguments']): boolean {
  return typeof given !== 'string' && Object.values(given).includes(null);
}

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
  const role = ROLES.get(plain);
  if (role !== undefined) return role;
  const hint =
    plain === 'function'
      ? 'write "tool" for what a function gave back, with `tool_call_id`; an assistant’s call goes into `tool_calls`'
      : 'roles: system, user, assistant, tool; or ShareGPT’s human, gpt, function_call, observation';
  const near = plain === 'function' ? undefined : nearestName(plain, [...ROLES.keys()]);
  throw new RowFault(`${where}: there is no role ${showValue(given)}${near ? `; did you mean "${near}"?` : ''}`, hint);
}

/** @throws RowFault for a key of another role, or a value of another kind */
function checkKeys(turn: Record<string, unknown>, role: Message['role'], where: string, path: string): void {
  checkKeysOfRole(turn, role, (message, hint = '', key) => {
    const leaveOut = key === undefined ? '' : `; or leave the key out with \`ignoreColumns: ['${path}.${key}']\``;
    return new RowFault(`${where}: ${message}`, hint + leaveOut);
  });
}

function learningOf({ weight, train }: Record<string, unknown>): Pick<Message, 'weight' | 'train'> {
  return {
    ...(weight !== undefined && { weight: weight as 0 | 1 }),
    ...(train !== undefined && { train: train as boolean }),
  };
}
