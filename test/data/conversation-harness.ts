/** Images, a template and a collator, by which conversation files show what they give and what is learned of it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect } from 'vitest';
import { ChatTemplate } from '../../src/data/chat-template.js';
import { decodeImage } from '../../src/data/decode-image.js';
import { MinistralTokenizer } from '../../src/data/tokenizer.js';
import {
  IGNORE_INDEX,
  type ImageInput,
  type Message,
  type SftExample,
  type TrainingExample,
} from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { TINY_CONFIG, tinyTokenizerJson } from './tiny-tokenizer.js';

export let dir: string;
/** Of an image that is red. */
export let redPng: Buffer;
export let redJpeg: Buffer;
export const COLOURS = { '1.png': [255, 0, 0], '2.png': [0, 255, 0], '3.png': [0, 0, 255] } as const;

/** To be called once in each test file: hooks belong to the file that sets them up. */
export function useConversations(): void {
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'conversations-'));
    for (const [name, [r, g, b]] of Object.entries(COLOURS)) {
      await sharp({ create: { width: 4, height: 4, channels: 3, background: { r, g, b } } }).toFile(join(dir, name));
    }
    const red = sharp({ create: { width: 4, height: 4, channels: 3, background: { r: 255, g: 0, b: 0 } } });
    redPng = await red.png().toBuffer();
    redJpeg = await red.jpeg().toBuffer();
  });
  afterAll(() => rm(dir, { recursive: true }));
}

/** The file whose colour an image has. */
export async function nameOf(image: ImageInput): Promise<string> {
  const [r, g, b] = (await decodeImage(image)).data;
  const near = ([x, y, z]: readonly number[]) => Math.abs(x! - r!) + Math.abs(y! - g!) + Math.abs(z! - b!) < 20;
  return Object.entries(COLOURS).find(([, colour]) => near(colour))?.[0] ?? 'another image';
}

/** A message in one line: `user: Which? {1.png}`, with what it holds beside its content behind it. */
export async function shown(message: Message): Promise<string> {
  const { role, content, ...rest } = message;
  const parts = typeof content === 'string' ? [content] : [];
  for (const part of typeof content === 'string' ? [] : content) {
    if (part.type === 'text') parts.push(part.text);
    else if (part.type === 'thinking') parts.push(`(${part.thinking}${part.closed === false ? '…' : ''})`);
    else parts.push(`{${await nameOf(part.image!)}}`);
  }
  const more = Object.keys(rest).length === 0 ? '' : ` ${JSON.stringify(rest)}`;
  return `${role}: ${parts.join('')}${more}`;
}

export async function shownSample(sample: unknown): Promise<string[]> {
  const { messages, tools } = sample as SftExample;
  if (!messages) {
    const { id: _, ...plain } = sample as Record<string, unknown>;
    return Object.entries(plain).map(([key, value]) => `${key}: ${String(value)}`);
  }
  const names = tools?.map((tool) => tool.function.name) ?? [];
  return [...(names.length > 0 ? [`tools: ${names.join(', ')}`] : []), ...(await Promise.all(messages.map(shown)))];
}

/** In the manner of the Instruct and Reasoning models. */
export const TEMPLATE = `{{- bos_token }}
{%- if tools %}{{- '[AVAILABLE_TOOLS]' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}{%- endif %}
{%- macro parts(content) %}
    {%- if content is string %}{{- content }}
    {%- else %}
        {%- for part in content %}
            {%- if part.type == 'text' %}{{- part.text }}
            {%- elif part.type == 'image' %}{{- '[IMG]' }}
            {%- else %}{{- '[THINK]' + part.thinking + ('[/THINK]' if part.closed is not defined or part.closed else '') }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
{%- endmacro %}
{%- for m in messages %}
    {%- if m.role == 'system' %}{{- '[SYSTEM_PROMPT]' + parts(m.content) + '[/SYSTEM_PROMPT]' }}
    {%- elif m.role == 'user' %}{{- '[INST]' + parts(m.content) + '[/INST]' }}
    {%- elif m.role == 'tool' %}{{- '[TOOL_RESULTS]' + parts(m.content) + '[/TOOL_RESULTS]' }}
    {%- else %}
        {{- parts(m.content) }}
        {%- for call in m.tool_calls or [] %}
            {%- set args = call.function.arguments %}
            {{- '[TOOL_CALLS]' + call.function.name + '[ARGS]' + (args if args is string else args | tojson) }}
        {%- endfor %}
        {{- eos_token }}
    {%- endif %}
{%- endfor %}`;

/** Images are one token each. */
export const tokenizer = new MinistralTokenizer(tinyTokenizerJson(), TINY_CONFIG);
export const collator = new VlmCollator({
  tokenizer,
  chatTemplate: new ChatTemplate(TEMPLATE),
  imageProcessor: {
    patchSize: 2,
    spatialMergeSize: 2,
    process: async () => ({ pixelValues: new Float32Array(48), height: 4, width: 4 }),
  },
});

/** The stretches of the sample that are learned, with what stands between them left out. */
export async function learned(sample: TrainingExample): Promise<string[]> {
  if ('messages' in sample && sample.messages.at(-1)?.prefix) {
    await expect(collator.encode(sample)).rejects.toThrow(/`prefix: true`: the rest of its answer is missing/);
    return ['a prefix is not learned'];
  }
  const { labels } = await collator.encode(sample);
  const runs: number[][] = [[]];
  for (const label of labels!) {
    if (label === IGNORE_INDEX) runs.push([]);
    else runs.at(-1)!.push(label);
  }
  return runs.filter((run) => run.length > 0).map((run) => tokenizer.decode(run));
}
