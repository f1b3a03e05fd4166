/** Every JSON file that the library reads, in a folder where all others are whole. */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConversationDataset } from '../../src/data/conversations/conversation-dataset.js';
import { attachImages } from '../../src/data/sft-messages.js';
import type { Message } from '../../src/data/types.js';
import { writeTinyCheckpoint } from '../../src/demo/tiny-checkpoint.js';
import type { Engine } from '../../src/engine/engine.js';
import type { Weight } from '../../src/engine/tensor.js';
import { ShardedCheckpoint } from '../../src/formats/safetensors.js';
import type { WeightSource } from '../../src/formats/weight-source.js';
import { saveAdapter } from '../../src/lora/adapter-file.js';
import { applyLora } from '../../src/lora/apply-lora.js';
import { readAdapter } from '../../src/lora/read-adapter.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import { readCheckpoint, writeCheckpoint } from '../../src/train/checkpoint.js';
import type { RunIdentity } from '../../src/train/checkpoint-state.js';
import { parseSftConfig } from '../../src/train/sft-config.js';
import { fakeModel } from '../lora/fake-engine.js';
import { reseal } from '../train/reseal.js';

export interface ConfigCase {
  /** Path of the file that is replaced. */
  readonly path: string;
  /** Its content when whole. */
  readonly base: unknown;
  /** Reads what lies in the folder. */
  read(): Promise<unknown>;
}

const CONVERSATION: Message[] = [
  { role: 'user', content: 'Is it broken? aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa! one two  three' },
  { role: 'assistant', content: 'yes' },
];

const CELL = {
  bytes: 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
};
const CALL = { id: 'abcdefghi', type: 'function', function: { name: 'zoom', arguments: '{"box": [1, 2]}' } };
const CONVERSATION_ROWS = [
  {
    id: 'a',
    tools: [{ type: 'function', function: { name: 'zoom', description: 'd', parameters: { type: 'object' } } }],
    images: [CELL],
    messages: [
      { role: 'user', content: [{ type: 'text', text: 'Look.' }, { type: 'image' }] },
      { role: 'assistant', content: null, tool_calls: [CALL], weight: 1 },
      { role: 'tool', content: 'cat', tool_call_id: 'abcdefghi', name: 'zoom' },
      { role: 'assistant', content: [{ type: 'thinking', thinking: 'a', closed: true }], train: true },
    ],
  },
  {
    image: CELL,
    conversations: [
      { from: 'human', value: '<image> a' },
      { from: 'gpt', value: 'b' },
    ],
  },
  { instruction: 'a', input: 'b', output: 'c', history: [['d', 'e']], system: 'f' },
  { prompt: 'a', completion: 'b' },
];

async function readConversations(path: string): Promise<void> {
  const dataset = await ConversationDataset.fromFile(path, { onWarning: () => undefined });
  for await (const example of dataset) if ('messages' in example) attachImages(example);
}

/** Reads every weight, and keeps none. */
const engine = {
  loadWeight: async ({ name, shape, dtype, byteLength, read }: WeightSource): Promise<Weight> => {
    await read(new Uint8Array(byteLength));
    return { name, shape, dtype: dtype === 'f8_e4m3' || dtype === 'nf4' ? 'bf16' : dtype };
  },
  releaseWeight: () => undefined,
} as unknown as Engine;

/** Makes the folders. @returns the cases, and what removes the folders */
export async function makeConfigCases(): Promise<{ cases: ConfigCase[]; dispose: () => Promise<void> }> {
  const root = await mkdtemp(join(tmpdir(), 'fuzz-configs-'));
  const cases: ConfigCase[] = [];
  const add = async (path: string, read: () => Promise<unknown>, base?: unknown): Promise<void> => {
    cases.push({ path, base: base ?? (JSON.parse(await readFile(path, 'utf8')) as unknown), read });
  };

  const model = join(root, 'model');
  await writeTinyCheckpoint({ outputDir: model, seed: 3, corpus: ['one two three'] });
  const load = (): Promise<unknown> => loadModel(model, { engine, onNotice: () => undefined });
  await add(join(model, 'config.json'), load);
  await add(join(model, 'generation_config.json'), load);

  const loadText = (dir: string) => async (): Promise<unknown> => {
    const { tokenizer, chatTemplate, imageProcessor } = await loadProcessor(dir);
    imageProcessor.gridOf(300, 200);
    // Without a template a folder is fine: the caller may bring one.
    const text = chatTemplate?.render(CONVERSATION) ?? 'text';
    return tokenizer.encode(text, { parseSpecialTokens: true, addSpecialTokens: true });
  };
  await add(join(model, 'tokenizer.json'), loadText(model));
  await add(join(model, 'tokenizer_config.json'), loadText(model));
  await add(join(model, 'processor_config.json'), loadText(model));

  // The older layout: two processor files, and the template in JSON.
  const older = join(root, 'older');
  await cp(model, older, { recursive: true });
  await rm(join(older, 'chat_template.jinja'));
  const processor = JSON.parse(await readFile(join(older, 'processor_config.json'), 'utf8')) as Record<string, unknown>;
  const { image_processor: imageProcessor, ...rest } = processor;
  await writeFile(join(older, 'processor_config.json'), JSON.stringify(rest));
  await writeFile(join(older, 'preprocessor_config.json'), JSON.stringify(imageProcessor));
  const template = { chat_template: [{ name: 'default', template: '{{ bos_token }}{{ messages[0].content }}' }] };
  await writeFile(join(older, 'chat_template.json'), JSON.stringify(template));
  await add(join(older, 'preprocessor_config.json'), loadText(older));
  await add(join(older, 'processor_config.json'), loadText(older));
  await add(join(older, 'chat_template.json'), loadText(older));

  const shards = join(root, 'shards');
  await mkdir(shards);
  const whole = await ShardedCheckpoint.open(model);
  const weightMap = Object.fromEntries([...whole.tensors.keys()].map((name) => [name, 'weights.safetensors']));
  await whole.close();
  await cp(join(model, 'model.safetensors'), join(shards, 'weights.safetensors'));
  const index = { metadata: { total_size: 1 }, weight_map: weightMap };
  await writeFile(join(shards, 'model.safetensors.index.json'), JSON.stringify(index));
  await add(join(shards, 'model.safetensors.index.json'), async () => (await ShardedCheckpoint.open(shards)).close());

  const adapter = join(root, 'adapter');
  const host = fakeModel();
  await saveAdapter(applyLora(host, { r: 2, rankPattern: { 'layers\\.1\\.mlp\\.up_proj': 4 } }), adapter);
  const linears = host.linearModules.map(({ name, weight }) => ({ name, shape: weight.shape }));
  await add(join(adapter, 'adapter_config.json'), () => readAdapter(adapter, linears));

  const run: RunIdentity = {
    config: parseSftConfig({ outputDir: root }),
    dataset: { length: 3, digests: ['abc'] },
    parameters: [{ name: 'lora_A', shape: [2, 3] }],
  };
  const progress = {
    globalStep: 2,
    totalSteps: 4,
    epoch: 0.5,
    metrics: { totalLoss: 2, totalSteps: 2, lossSinceLog: 1, stepsSinceLog: 1, skippedSteps: 0 },
    logHistory: [],
  };
  const tensors = {
    parameters: new Float32Array(6),
    optimizer: { steps: new Float32Array(1), m: new Float32Array(6) },
  };
  const checkpoint = await writeCheckpoint(root, { ...run, ...progress }, tensors);
  // With digests that fit, or every change would be refused for those.
  await add(join(checkpoint, 'trainer-state.json'), async () => {
    await reseal(checkpoint);
    return readCheckpoint(checkpoint, run);
  });

  const conversations = join(root, 'conversations.json');
  await writeFile(conversations, JSON.stringify(CONVERSATION_ROWS));
  await add(conversations, () => readConversations(conversations));

  return { cases, dispose: () => rm(root, { recursive: true, force: true }) };
}
