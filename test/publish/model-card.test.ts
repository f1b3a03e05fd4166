import { describe, expect, it } from 'vitest';
import { LoraConfig } from '../../src/lora/lora-config.js';
import { escapeMarkdown } from '../../src/messages/markdown.js';
import { adapterSubject } from '../../src/publish/adapter-upload.js';
import { type ModelCard, modelCardSchema, renderModelCard } from '../../src/publish/model-card.js';
import { HOSTILE_NAMES, MARKUP_NAMES, markdown, parseYaml, shownText, UNSAFE } from '../markup.js';

const subject = adapterSubject({
  repoId: 'owner/name',
  baseModel: 'org/base',
  config: new LoraConfig({ r: 4, alpha: 8, targetModules: ['q_proj'] }),
  hasTemplate: false,
  layers: { language: 2, vision: 0, projector: 0 },
  maxRank: 4,
  trainedParameters: 100,
});

function cardOf(name: string): { front: Record<string, unknown>; text: string; html: string } {
  const card: ModelCard = {
    title: name,
    license: name,
    language: [name],
    tags: [name],
    datasets: [name],
    data: `Classes: ${escapeMarkdown(name)}.`,
    config: { [name]: name, list: [name] },
    metrics: [{ type: name, name, value: 0.5, before: 0.25 }],
    evaluatedOn: { name, type: name, split: name, samples: 3 },
  };
  const whole = renderModelCard(modelCardSchema.parse(card), subject);
  const end = whole.indexOf('\n---\n', 4);
  const text = whole.slice(end + 5);
  return { front: parseYaml(whole.slice(4, end)) as Record<string, unknown>, text, html: markdown.render(text) };
}

const names = [...MARKUP_NAMES, ...HOSTILE_NAMES, 'a: b # c', '"', '---\nlicense: mit', '...', '{{x}}'];

describe('the card of an adapter', () => {
  it.each(names.map((name) => [JSON.stringify(name), name]))(
    'has front matter that is read as written: %s',
    (_, name) => {
      const read = name.replace(/\p{Surrogate}/gu, '\ufffd');
      const { front } = cardOf(name);
      expect(front).toMatchObject({
        base_model: 'org/base',
        library_name: 'peft',
        license: read,
        language: [read],
        datasets: [read],
        metrics: [read],
      });
      expect((front['tags'] as string[]).at(-1)).toBe(read);
      const [model] = front['model-index'] as { name: string; results: { dataset: object; metrics: object[] }[] }[];
      expect(model!.name).toBe(read);
      expect(model!.results[0]!.dataset).toEqual({ name: read, type: read, split: read });
      expect(model!.results[0]!.metrics).toEqual([{ type: read, name: read, value: 0.5 }]);
    },
  );

  it.each(MARKUP_NAMES)('shows a name as itself: %s', (name) => {
    const { html, text } = cardOf(name);
    const shown = name.replace(/ +/g, ' ');
    const between = (pattern: RegExp) => shownText(pattern.exec(html)![1]!, ['code']).replace(/ +/g, ' ');
    expect(between(/^<h1>(.*)<\/h1>/m)).toBe(shown);
    expect(between(/<p>Classes: (.*)\.<\/p>/)).toBe(shown);
    expect(between(/<p>On (.*), split .*, 3 samples\.<\/p>/)).toContain(shown);
    expect(between(/<td>(.*)<\/td>\n<td>0\.25<\/td>\n<td>0\.5<\/td>/)).toBe(shown);
    const settings = /<h2>Training<\/h2>[\s\S]*?<tbody>\n<tr>\n<td>(.*)<\/td>\n<td>(.*)<\/td>\n<\/tr>/.exec(html)!;
    for (const cell of settings.slice(1)) expect(shownText(cell!, ['code']).replace(/ +/g, ' ')).toBe(shown);
    expect(text).not.toMatch(/<(img|script|b)\b/i);
  });

  it.each(HOSTILE_NAMES.map((name) => [JSON.stringify(name), name]))('has no line or mark of a name: %s', (_, name) => {
    const { text, html } = cardOf(name);
    expect(text.replaceAll('👩\u200d🔬', '')).not.toMatch(UNSAFE);
    expect(text.split('\n').length).toBe(cardOf('plain').text.split('\n').length);
    expect(html.match(/<h\d>/g)).toEqual(cardOf('plain').html.match(/<h\d>/g));
  });

  it('keeps the address of an image whole', () => {
    const card = modelCardSchema.parse({ pictures: [{ path: '/x/a (1)#b?c <d> é%.png', caption: 'one' }] });
    const html = markdown.render(renderModelCard(card, subject).split('\n---\n')[1]!);
    const [, address] = /<img src="([^"]*)" alt="one">/.exec(html)!;
    expect(decodeURIComponent(address!)).toBe('images/a (1)#b?c <d> é%.png');
    expect(address).not.toMatch(/[#?() <>]/);
  });
});
