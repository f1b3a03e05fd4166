/** Tokens, template, token expansion and pixels. */
import { ChatTemplate, TUTORIAL_TEMPLATE } from '../../src/data/chat-template.js';
import type { SftExample } from '../../src/data/types.js';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import { loadProcessor } from '../../src/model/load.js';
import { type CheckList, sameNumbers } from './check-list.js';
import { type ReferenceFolder, type ReferenceJson, withSecondBos } from './reference-folder.js';

/** The tutorial's conversation about one of the reference pictures. */
export function exampleOf(reference: ReferenceFolder, json: ReferenceJson, index: number): SftExample {
  const row = json.collated[index]!;
  return {
    id: row.image,
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: json.versions.prompt },
          { type: 'image', image: reference.path('images', row.image) },
        ],
      },
      { role: 'assistant', content: [{ type: 'text', text: json.versions.classes[row.label]! }] },
    ],
  };
}

export async function checkData(checks: CheckList, reference: ReferenceFolder, json: ReferenceJson): Promise<void> {
  const { tokenizer, imageProcessor, chatTemplate } = await loadProcessor(reference.path('checkpoint'));
  await checks.group('tokenizer', async () => {
    const wrong = { plain: [] as string[], special: [] as string[], decoded: [] as string[] };
    for (const { text, ids, with_special, decoded } of json.tokenizer) {
      if (!sameNumbers(tokenizer.encode(text, { parseSpecialTokens: true }), ids)) wrong.plain.push(text);
      if (!sameNumbers(tokenizer.encode(text, { parseSpecialTokens: true, addSpecialTokens: true }), with_special))
        wrong.special.push(text);
      if (tokenizer.decode(ids) !== decoded) wrong.decoded.push(text);
    }
    const total = json.tokenizer.length;
    checks.exact(`tokenizer: ids of ${total} texts`, wrong.plain.length === 0, JSON.stringify(wrong.plain));
    checks.exact(
      `tokenizer: ids with special tokens of ${total} texts`,
      wrong.special.length === 0,
      JSON.stringify(wrong.special),
    );
    checks.exact(
      `tokenizer: decoded text of ${total} texts`,
      wrong.decoded.length === 0,
      JSON.stringify(wrong.decoded),
    );
  });
  await checks.group('template', async () => {
    const tokens = { bosToken: tokenizer.bosToken, eosToken: tokenizer.eosToken };
    const templates: [string, ChatTemplate][] = [
      ["the folder's own", chatTemplate!],
      ['TUTORIAL_TEMPLATE', new ChatTemplate(TUTORIAL_TEMPLATE, tokens)],
    ];
    for (const [name, template] of templates) {
      for (const [i, conversation] of json.template.conversations.entries()) {
        checks.exact(`template (${name}): conversation ${i}`, template.render(conversation) === json.template.train[i]);
      }
      const prompt = json.template.conversations[0]!.filter(({ role }) => role === 'user');
      const rendered = template.render(prompt, { addGenerationPrompt: true });
      checks.exact(`template (${name}): generation prompt`, rendered === json.template.generation_prompt);
    }
  });
  await checks.group('collator', async () => {
    const collator = new VlmCollator({ tokenizer, chatTemplate: chatTemplate!, imageProcessor, maskPrompt: false });
    for (const [i, row] of json.collated.entries()) {
      const batch = withSecondBos(await collator.collate([exampleOf(reference, json, i)]), tokenizer.bosTokenId);
      checks.exact(
        `collated sample ${i}: ids (${row.input_ids.length})`,
        sameNumbers(batch.inputIds.data, row.input_ids),
      );
      checks.exact(`collated sample ${i}: labels`, sameNumbers(batch.labels!.data, row.labels));
    }
    const { images, ...rest } = {
      images: [reference.path('images', json.generate.image)],
      ...exampleOf(reference, json, 0),
    };
    const messages = rest.messages.map(({ role, content }) => ({
      role,
      content:
        typeof content === 'string'
          ? content
          : content.map((part) => (part.type === 'image' ? { type: 'image' as const } : part)),
    }));
    const prompt = await collator.collatePrompts([{ messages, images }]);
    checks.exact(
      'generation prompt: ids with expanded image tokens',
      sameNumbers(prompt.inputIds.data, json.generate.prompt_ids),
    );
  });
  await checks.group('image processor', async () => {
    await reference.arrays('image_processor.safetensors', async (file) => {
      let equal = 0;
      let within = 0;
      let total = 0;
      for (const [i, { image }] of json.collated.entries()) {
        const { pixelValues, height, width } = await imageProcessor.process(reference.path('images', image));
        const expected = await file.readFloat32(`pixel_values.${i}`);
        const size = Array.from((await file.readArray(`image_sizes.${i}`)) as Iterable<number | bigint>, Number);
        checks.exact(
          `pixels of ${image}: size ${height}×${width}`,
          sameNumbers([height, width], size) && pixelValues.length === expected.length,
        );
        const plane = height * width;
        for (let at = 0; at < expected.length; at++) {
          const level = 1 / (255 * imageProcessor.imageStd[Math.floor(at / plane)]!);
          if (pixelValues[at] === expected[at]) equal++;
          if (Math.abs(pixelValues[at]! - expected[at]!) <= level * 1.001) within++;
        }
        total += expected.length;
      }
      checks.atLeast('pixels within one level', within / total, 0.999);
      checks.atLeast('pixels bit-equal', equal / total, 0.999);
    });
  });
}
