import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import type { TrainingExample } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { ConfigError } from '../../src/errors.js';
import { promptAnswers } from '../../src/model/answer-tokens.js';
import { loadProcessor, type ModelProcessor } from '../../src/model/load.js';
import { writeTinyModel } from '../e2e/tiny-model.js';

let dir: string;
let processor: ModelProcessor;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ministral-tune-answers-'));
  await writeTinyModel(join(dir, 'checkpoint'));
  processor = await loadProcessor(join(dir, 'checkpoint'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

const LABELS = ['left hand', 'right foot', 'skull', 'é手'];
const CONFIG = { eosTokenIds: [0], text: { vocabSize: 1e6 } };
const loop = (turn: string): string => `{{ bos_token }}{% for m in messages %}${turn}{% endfor %}`;
const TEMPLATES: Readonly<Record<string, string>> = {
  tutorial: TUTORIAL_TEMPLATE,
  'a space before the answer': loop(
    "{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}{{ eos_token }}{% endif %}",
  ),
  'text at the end of the prompt, white space before the end token': `${loop(
    "{% if m.role == 'user' %}Q: {{ m.content }}\n{% else %}A:\n{{ m.content }}\n{{ eos_token }}{% endif %}",
  )}{% if add_generation_prompt %}A:\n{% endif %}`,
  'another end token': `${loop(
    "{% if m.role == 'user' %}[INST]{{ m.content }}{% else %}[/INST]a\n{{ m.content }}[TOOL_CALLS]{% endif %}",
  )}{% if add_generation_prompt %}[/INST]a\n{% endif %}`,
};

async function tokensOf(collator: VlmCollator, example: TrainingExample, labels = LABELS) {
  const prompts = await collator.collatePrompts([example]);
  return promptAnswers(processor.tokenizer, prompts, labels, { config: CONFIG }, 'test')[0]!;
}

describe('tokens of answers', () => {
  it.each(Object.entries(TEMPLATES))('are those that are learned: %s', async (_, source) => {
    const { tokenizer } = processor;
    const chatTemplate = new ChatTemplate(source, { bosToken: tokenizer.bosToken, eosToken: tokenizer.eosToken });
    const collator = new VlmCollator({ ...processor, chatTemplate });
    const question = { role: 'user', content: 'What is it?' } as const;
    const { ids, end } = await tokensOf(collator, { messages: [question] });
    for (const [i, label] of LABELS.entries()) {
      const { inputIds, labels } = await collator.encode({
        messages: [question, { role: 'assistant', content: label }],
      });
      expect([...ids[i]!, end]).toEqual(labels!.filter((id) => id !== -100));
      expect(inputIds.slice(-ids[i]!.length - 1)).toEqual([...ids[i]!, end]);
    }
  });

  it('are split alone where the prompt has a part of their first token', async () => {
    const { tokenizer } = processor;
    const { ids } = await tokensOf(new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! }), {
      prompt: 'It is a ',
      completion: '',
    });
    expect(ids).toEqual(LABELS.map((label) => tokenizer.encode(label)));
  });

  it('go on with an answer that is begun, and with a plain prompt', async () => {
    const { tokenizer } = processor;
    const source = TEMPLATES['a space before the answer']!;
    const chatTemplate = new ChatTemplate(source, { bosToken: tokenizer.bosToken, eosToken: tokenizer.eosToken });
    const collator = new VlmCollator({ ...processor, chatTemplate });
    const messages = [
      { role: 'user', content: 'What is it?' },
      { role: 'assistant', content: 'the', prefix: true },
    ] as const;
    const begun = await tokensOf(collator, { messages });
    expect(begun.ids.map((ids) => tokenizer.decode(ids))).toEqual(LABELS);
    const plain = await tokensOf(collator, { prompt: 'It is the', completion: '' }, [' skull', ' left hand']);
    const { inputIds } = await collator.encode({ prompt: 'It is the', completion: ' skull' });
    expect(inputIds.slice(-plain.ids[0]!.length - 1)).toEqual([...plain.ids[0]!, plain.end]);
  });

  it('are found once for prompts that end alike, and must differ', async () => {
    const collator = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! });
    const messages = [{ role: 'user', content: 'What is it?' }] as const;
    const prompts = await collator.collatePrompts([{ messages }, { messages }]);
    const [first, second] = promptAnswers(processor.tokenizer, prompts, LABELS, { config: CONFIG }, 'test');
    expect(second).toBe(first);
    expect(() => promptAnswers(processor.tokenizer, prompts, ['a', 'a'], { config: CONFIG }, 'test')).toThrow(
      ConfigError,
    );
    const small = { config: { ...CONFIG, text: { vocabSize: 100 } } };
    expect(() => promptAnswers(processor.tokenizer, prompts, LABELS, small, 'test')).toThrow(/outside the model's/);
  });
});
