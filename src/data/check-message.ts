/** Samples and messages as they are handed over: in plain JavaScript the compiler has not seen them. */
import { DataError, TextError } from '../errors.js';
import { oneLine } from '../messages/one-line.js';
import { showValue } from '../messages/show-value.js';
import { aliases, describeKind, findUnknownKey, isRecord, unknownKey } from './known-keys.js';
import type { Message, SftExample } from './types.js';

const ROLES = ['system', 'user', 'assistant', 'tool'];
const SAMPLE_KEYS = ['messages', 'images', 'tools', 'id', 'prompt', 'completion', 'text'];
const MESSAGE_KEYS = ['role', 'content', 'tool_calls', 'tool_call_id', 'name', 'weight', 'train', 'prefix'];
const PART_KEYS: Readonly<Record<string, readonly string[]>> = {
  text: ['type', 'text'],
  image: ['type', 'image'],
  thinking: ['type', 'thinking', 'closed'],
};
const KEY_ROLES: Readonly<Record<string, readonly string[]>> = {
  tool_calls: ['assistant'],
  reasoning_content: ['assistant'],
  weight: ['assistant'],
  train: ['assistant'],
  prefix: ['assistant'],
  tool_call_id: ['tool'],
  name: ['tool'],
};
const OTHER_ROLES = aliases({
  user: 'human',
  assistant: 'gpt bot ai model',
  system: 'developer',
  tool: 'function observation',
});
const LOADER = 'ConversationDataset.fromRows reads the forms of OpenAI, Mistral, TRL, ShareGPT and LLaMA-Factory';

/** @throws DataError for what is no sample at all */
export function requireSample(sample: unknown): asserts sample is Record<string, unknown> {
  if (isRecord(sample) && !(sample instanceof Promise)) return;
  throw new DataError(`expected { messages: [...], images? }, got ${describeKind(sample)}`, {
    hint: Array.isArray(sample)
      ? 'wrap the list: { messages: [...] }'
      : 'let the data set yield samples in the form of SftExample',
  });
}

/**
 * @throws DataError if a sample is none, has a key that nobody reads, or `images` or `tools` are not what they should be
 */
export function checkSample(example: SftExample): void {
  const sample: unknown = example;
  requireSample(sample);
  const fault: MakeFault = (message, hint) => {
    throw new DataError(message, hint === undefined ? {} : { hint });
  };
  const unknown = findUnknownKey(sample, SAMPLE_KEYS);
  if (unknown !== undefined) {
    const value = unknown === 'image' ? 'write `images: [image]`; ' : '';
    throw fault(
      unknownKey(unknown, SAMPLE_KEYS),
      `${value}take keys that are not part of the sample out of it. ${LOADER}.`,
    );
  }
  const { images, tools } = sample;
  if (images !== undefined && images !== null && !Array.isArray(images)) {
    throw fault(`\`images\`: expected a list, got ${describeKind(images)}`, 'write `images: [image]` for one');
  }
  for (const [i, image] of ((images ?? []) as unknown[]).entries()) checkImage(image, `\`images[${i}]\``, fault);
  if (tools === undefined || tools === null) return;
  const isTool = (tool: unknown) =>
    isRecord(tool) && isRecord(tool['function']) && typeof tool['function']['name'] === 'string';
  const bad = Array.isArray(tools) ? tools.findIndex((tool) => !isTool(tool)) : 0;
  if (Array.isArray(tools) && bad < 0) return;
  const what = Array.isArray(tools) ? `\`tools[${bad}]\`` : '`tools`';
  throw fault(
    `${what}: expected a tool, got ${describeKind(Array.isArray(tools) ? tools[bad] : tools)}`,
    'write tools: [{ type: "function", function: { name, description, parameters } }]',
  );
}

/**
 * @throws TextError naming the message and the part, and what is wrong with it
 */
export function checkMessage(message: Message, index: number): void {
  const given: unknown = message;
  const role = isRecord(given) ? given['role'] : undefined;
  let part: number | undefined;
  const fault = (
    what: string,
    hint = 'expected { role, content }, content a string or a list of { type: "text", text } and { type: "image" }',
  ): TextError => {
    const shown = typeof role === 'string' ? oneLine(role) : role && showValue(role);
    return new TextError(
      `message ${index}${shown === undefined ? '' : ` (${shown})`} is malformed${part === undefined ? '' : ` in part ${part} of its content`}: ${what}`,
      { hint, details: { index, role, ...(part !== undefined && { part }) } },
    );
  };
  if (!isRecord(given)) throw fault(`expected { role, content }, got ${describeKind(given)}`);
  const unknown = findUnknownKey(given, MESSAGE_KEYS);
  if (unknown !== undefined) throw fault(unknownKey(unknown, MESSAGE_KEYS), `remove or rename the key. ${LOADER}.`);
  if (typeof role !== 'string') throw fault(role === undefined ? '`role` is missing' : '`role` is no string');
  if (!ROLES.includes(role)) {
    const other = OTHER_ROLES.get(role.toLowerCase()) ?? ROLES.find((known) => known === role.toLowerCase());
    throw fault(
      `there is no role ${showValue(role)}${other ? `; did you mean "${other}"?` : ''}`,
      `roles: ${ROLES.join(', ')}. ${LOADER}.`,
    );
  }
  checkKeysOfRole(given, role, fault);
  const { content } = given;
  if (typeof content === 'string') return;
  if (!Array.isArray(content)) {
    if (content === undefined) {
      throw fault('`content` is missing', 'give its text; an answer without text is content: "" beside `tool_calls`');
    }
    throw fault(`\`content\`: expected text or a list of parts, got ${describeKind(content)}`);
  }
  for (part = 0; part < content.length; part++) checkPart(content[part], role, fault);
}

type MakeFault = (message: string, hint?: string, key?: string) => Error;

/** @throws what `fault` makes, for a key of another role, a value of another kind, or a malformed call */
export function checkKeysOfRole(message: Record<string, unknown>, role: string, fault: MakeFault): void {
  for (const [key, roles] of Object.entries(KEY_ROLES)) {
    const value = message[key];
    if (value === undefined || value === null) continue;
    // Data sets of axolotl say of every turn whether it is learned; that a question is not says what holds anyway.
    const saysNothing = (key === 'weight' && value === 0) || (key === 'train' && value === false);
    if (!roles.includes(role) && !saysNothing) {
      const what = roles[0] === 'tool' ? 'a tool’s message' : 'an assistant’s message';
      throw fault(
        `\`${key}\` is a key of ${what}`,
        'remove it, or correct the role: only the assistant’s messages are learned',
        key,
      );
    }
    if (key === 'weight' && value !== 0 && value !== 1)
      throw fault(`\`weight\`: expected 0 or 1, got ${showValue(value)}`, '0: the answer is not learned');
    if ((key === 'train' || key === 'prefix') && typeof value !== 'boolean') {
      throw fault(`\`${key}\`: expected true or false, got ${showValue(value)}`, 'write it without quotes');
    }
    if ((key === 'tool_call_id' || key === 'name') && typeof value !== 'string') {
      throw fault(
        `\`${key}\`: expected text, got ${showValue(value)}`,
        'the id of the call and the name of the tool are text',
      );
    }
  }
  const { weight, train, tool_calls: calls } = message;
  if ((weight === 0 && train === true) || (weight === 1 && train === false)) {
    throw fault(`\`weight: ${weight}\` and \`train: ${train}\` say opposite things`, 'keep one of them');
  }
  if (calls === undefined || calls === null) return;
  const hint =
    'write tool_calls: [{ id, type: "function", function: { name, arguments } }], arguments JSON text or an object';
  if (!Array.isArray(calls)) throw fault(`\`tool_calls\`: expected a list, got ${describeKind(calls)}`, hint);
  for (const [i, call] of (calls as unknown[]).entries()) {
    const called = isRecord(call) ? call['function'] : undefined;
    const args = isRecord(called) ? called['arguments'] : undefined;
    if (
      !isRecord(call) ||
      !isRecord(called) ||
      typeof called['name'] !== 'string' ||
      !(typeof args === 'string' || isRecord(args))
    ) {
      throw fault(`\`tool_calls[${i}]\`: expected a call, got ${showValue(call)}`, hint);
    }
    const unknown = findUnknownKey(call, ['id', 'type', 'function']) ?? findUnknownKey(called, ['name', 'arguments']);
    if (unknown !== undefined)
      throw fault(
        `\`tool_calls[${i}]\`: ${unknownKey(unknown, ['id', 'type', 'function', 'name', 'arguments'])}`,
        hint,
      );
  }
}

function checkPart(part: unknown, role: string, fault: MakeFault): void {
  if (!isRecord(part)) throw fault(`expected { type: "text", text } or { type: "image" }, got ${describeKind(part)}`);
  const { type } = part;
  const known = typeof type === 'string' && Object.hasOwn(PART_KEYS, type) ? PART_KEYS[type]! : undefined;
  if (!known) {
    const hint = `parts have the type "text", "image" or "thinking". ${LOADER}.`;
    throw fault(type === undefined ? '`type` is missing' : `unknown type ${showValue(type)}`, hint);
  }
  const unknown = findUnknownKey(part, known);
  if (unknown !== undefined) {
    const near = type === 'image' && /^(url|path|src|source|bytes|base64|data|file|images|image_?\w+)$/i.test(unknown);
    throw fault(
      near ? `unknown key \`${oneLine(unknown)}\`; did you mean \`image\`?` : unknownKey(unknown, known),
      `remove or rename the key. ${LOADER}.`,
    );
  }
  if (type === 'text' && typeof part['text'] !== 'string')
    throw fault(`\`text\`: expected text, got ${describeKind(part['text'])}`);
  if (type === 'image' && part['image'] !== undefined && part['image'] !== null)
    checkImage(part['image'], '`image`', fault);
  if (type === 'thinking') {
    if (typeof part['thinking'] !== 'string') {
      throw fault(
        `\`thinking\`: expected text, got ${describeKind(part['thinking'])}`,
        'write { type: "thinking", thinking: "..." }',
      );
    }
    if (part['closed'] !== undefined && part['closed'] !== null && typeof part['closed'] !== 'boolean') {
      throw fault(`\`closed\`: expected true or false, got ${showValue(part['closed'])}`, 'write it without quotes');
    }
    if (role !== 'assistant' && role !== 'system') {
      throw fault(
        'a `thinking` part belongs into an assistant’s or a system message',
        'give it as text, or correct the role',
      );
    }
  }
}

function checkImage(image: unknown, where: string, fault: MakeFault): void {
  if (typeof image === 'string' && image !== '') return;
  if (image instanceof Uint8Array) return;
  if (isRecord(image) && (typeof image['decode'] === 'function' || 'width' in image || 'data' in image)) return;
  const hint = 'give a path, encoded bytes, { width, height, data } or a lazy image';
  throw fault(
    `${where}: expected an image, got ${describeKind(image)}`,
    isRecord(image) && ('bytes' in image || 'url' in image) ? `${hint}. ${LOADER}.` : hint,
  );
}
