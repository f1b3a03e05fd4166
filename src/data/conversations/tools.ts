/** Tools and calls as the forms write them, to those of this package. */
import { describeKind, isRecord } from '../known-keys.js';
import type { Tool, ToolCall } from '../types.js';
import { mismatch, RowFault, readRecord } from './row-fault.js';

const TOOL_HINT = 'write tools: [{ "type": "function", "function": { "name", "description", "parameters" } }]';
const CALL_HINT = 'write tool_calls: [{ "id", "type": "function", "function": { "name", "arguments" } }]';
const NONE: ReadonlySet<string> = new Set();

/** A list, or JSON text of one as LLaMA-Factory has it; plain functions are wrapped. @throws RowFault */
export function readTools(value: unknown): Tool[] {
  const tools = typeof value === 'string' ? (value.trim() === '' ? [] : parseText(value, '`tools`')) : value;
  if (!Array.isArray(tools)) throw mismatch('`tools`', 'a list', tools, TOOL_HINT);
  return tools.map((tool: unknown, i): Tool => {
    const where = `\`tools[${i}]\``;
    const described = isRecord(tool) && 'function' in tool ? tool['function'] : tool;
    if (!isRecord(described) || typeof described['name'] !== 'string') {
      throw mismatch(where, 'a tool', tool, TOOL_HINT);
    }
    if (described !== tool) {
      const { type } = readRecord(tool, where, ['type', 'function'], NONE, 'tools', TOOL_HINT);
      if (type !== undefined && type !== 'function') throw new RowFault(`${where}: its type is no function`, TOOL_HINT);
    }
    const known = ['name', 'description', 'parameters', 'strict', ...(described === tool ? ['type'] : [])];
    const { type: _, ...plain } = readRecord(described, where, known, NONE, 'tools', TOOL_HINT);
    return { type: 'function', function: plain as unknown as Tool['function'] };
  });
}

export function readToolCalls(value: unknown, where: string): ToolCall[] {
  if (!Array.isArray(value)) throw mismatch(where, 'a list', value, CALL_HINT);
  return value.map((call: unknown, i) => readToolCall(call, `${where}[${i}]`));
}

/** A call with or without the wrapping `function`. @throws RowFault */
export function readToolCall(value: unknown, where: string): ToolCall {
  const isWrapped = isRecord(value) && isRecord(value['function']);
  const known = ['id', 'type', 'index', ...(isWrapped ? ['function'] : ['name', 'arguments'])];
  const call = readRecord(value, where, known, NONE, 'tool_calls', CALL_HINT);
  const called = isWrapped
    ? readRecord(call['function'], where, ['name', 'arguments'], NONE, 'function', CALL_HINT)
    : call;
  const { name, arguments: given = {} } = called;
  if (typeof name !== 'string' || name === '') throw new RowFault(`${where}: the call has no \`name\``, CALL_HINT);
  if (call['type'] !== undefined && call['type'] !== 'function') {
    throw new RowFault(`${where}: its type is no function`, CALL_HINT);
  }
  if (call['id'] !== undefined && typeof call['id'] !== 'string') {
    throw new RowFault(`${where}: its \`id\` is no text`, CALL_HINT);
  }
  if (typeof given !== 'string' && !isRecord(given)) {
    throw new RowFault(`${where}: \`arguments\` are ${describeKind(given)}`, 'give an object, or JSON text of one');
  }
  if (typeof given === 'string') parseText(given, `${where}: \`arguments\``);
  return {
    ...(typeof call['id'] === 'string' && { id: call['id'] }),
    type: 'function',
    function: { name, arguments: given },
  };
}

/** Parses JSON given as text, as calls and tools often are. @throws RowFault */
export function parseText(text: string, where: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new RowFault(
      `${where}: the text is no JSON: ${(cause as Error).message}`,
      'write it as JSON, or as it is without quotes',
    );
  }
}
