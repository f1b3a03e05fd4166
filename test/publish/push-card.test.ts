import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { answer } from '../servers/scripted-server.js';
import { pushBed } from './push-bed.js';

const ID = 'user/bone-adapter';
const bed = pushBed(ID, ({ save: first }) => first({ r: 4, towers: 'language' }, 3));
const { push, card, text: file } = bed;
const save = (seed: number) => bed.save({ r: 4, towers: 'language' }, seed);

describe('a README.md on the Hub', () => {
  it.each([
    ['a sentence', (text: string) => text.replace('## Use', 'Ask Ada about it.\n\n## Use')],
    [
      'its metadata, as the page offers',
      (text: string) => text.replace('library_name: peft', 'library_name: peft\nlicense: mit'),
    ],
    ['its last line alone', (text: string) => text.replace(/<!-- made by .*-->\n$/, '')],
    ['all of it', () => '# Mine\n'],
    ['what comes after it', (text: string) => `${text}\nAnd more.\n`],
    ['a letter', (text: string) => text.replace('LoRA', 'LORA')],
  ])('is kept when people have edited %s', async (_what, edit) => {
    await push();
    const edited = edit(card());
    expect(edited).not.toBe(card());
    bed.server.commit(ID, { 'README.md': edited });
    const same = await push();
    expect(same).toMatchObject({ changed: false, uploaded: [], kept: ['README.md'], commit: bed.server.head(ID).oid });
    await save(4);
    const result = await push({ modelCard: { title: 'New' } });
    expect(result).toMatchObject({ changed: true, uploaded: ['adapter_model.safetensors'], kept: ['README.md'] });
    expect(card()).toBe(edited);
    expect(bed.warnings).toHaveLength(2);
    expect(bed.warnings[0]).toBe(
      'user/bone-adapter: README.md on the Hub was edited there and is kept, so it does not show what `modelCard` says ' +
        'now; `overwriteCard: true` replaces it',
    );
    expect(await push({ modelCard: { title: 'New' }, overwriteCard: true })).toMatchObject({
      uploaded: ['README.md'],
      kept: [],
    });
    expect(card()).toContain('# New');
    expect(bed.warnings).toHaveLength(2);
  });

  it('is replaced as long as nobody has edited it', async () => {
    await push();
    expect(await push({ modelCard: { title: 'Second' } })).toMatchObject({ uploaded: ['README.md'], kept: [] });
    expect(card()).toContain('# Second');
    // Line ends of another system are no edit.
    bed.server.commit(ID, { 'README.md': card().replaceAll('\n', '\r\n') });
    expect(await push({ modelCard: { title: 'Third' } })).toMatchObject({ uploaded: ['README.md'], kept: [] });
    expect(card()).toContain('# Third');
    expect(bed.warnings).toEqual([]);
  });

  it('is nobody’s edit though the texts of the card came with other line ends', async () => {
    await push({ modelCard: { description: 'Written\r\non Windows.' } });
    expect(await push({ modelCard: { description: 'Written\r\nagain.' } })).toMatchObject({ kept: [], changed: true });
    expect(card()).toContain('again.');
    expect(await push({ modelCard: { description: 'Written\r\nagain.' } })).toMatchObject({ kept: [], changed: false });
  });

  it('of a new repository, with metadata alone, is replaced, and its metadata stay', async () => {
    const first =
      '---\nlicense: other\nlicense_name: my-licence\nextra_gated_fields:\n  Name: text\n  Country: text\ntags:\n- mine\n---\n';
    bed.server.commit(ID, { 'README.md': first, '.gitattributes': '*.bin filter=lfs\n' });
    expect((await push()).uploaded).toContain('README.md');
    const carried =
      'license: other\nlicense_name: my-licence\nextra_gated_fields:\n  Name: text\n  Country: text\n---\n';
    expect(card()).toContain(carried);
    expect(card().match(/^tags:/gm)).toHaveLength(1);
    expect(card()).toContain('# bone-adapter');
    // And through later pushes, until the card says something else.
    expect(await push()).toMatchObject({ changed: false, kept: [] });
    await push({ modelCard: { title: 'Second' } });
    expect(card()).toContain(carried);
    await push({ modelCard: { license: 'mit' } });
    expect(card()).toContain('license: "mit"');
    expect(card()).not.toContain('license: other');
    expect(card()).toContain('license_name: my-licence');
    expect(file('.gitattributes')).toBe('*.bin filter=lfs\n');
  });

  it.each([
    ['empty', ''],
    ['blank', '\n \n'],
    ['a byte order mark', '\ufeff---\r\nlicense: mit\r\n---\r\n'],
  ])('is replaced when it says nothing: %s', async (_what, text) => {
    bed.server.commit(ID, { 'README.md': text });
    expect(await push()).toMatchObject({ kept: [] });
    expect(card()).toContain('# bone-adapter');
  });

  it.each([
    ['a title', '# A title\n'],
    ['a text without metadata', 'Made by me.'],
    ['another program’s', '---\nlibrary_name: peft\n---\n\n# Model Card for Model ID\n'],
    ['a very long one', 'x'.repeat(2 << 20)],
    ['no text', Buffer.from([0xff, 0xfe, 0, 1])],
  ])('is kept when it was there before the first push: %s', async (_what, text) => {
    bed.server.commit(ID, { 'README.md': text });
    const result = await push();
    expect(result.kept).toEqual(['README.md']);
    expect(result.uploaded).toContain('adapter_model.safetensors');
    expect(
      bed.server
        .head(ID)
        .files.get('README.md')!
        .equals(Buffer.from(text as string)),
    ).toBe(true);
  });

  it('is kept when it is edited while the push is on its way', async () => {
    await push();
    await save(4);
    bed.server.fault(/^POST .*\/commit\//, (request, response) => {
      bed.server.commit(ID, { 'README.md': '# Just now\n' });
      answer(412, { error: 'A commit has happened since. Please refresh and try again.' })(request, response);
    });
    const result = await push({ modelCard: { title: 'New' } });
    expect(result).toMatchObject({ uploaded: ['adapter_model.safetensors'], kept: ['README.md'] });
    expect(card()).toBe('# Just now\n');
    expect(bed.warnings.filter((line) => line.includes('README.md'))).toHaveLength(1);
  });

  it('is kept by a pull request, too', async () => {
    await push();
    bed.server.commit(ID, { 'README.md': '# Mine\n' });
    expect(await push({ createPr: true, modelCard: { title: 'New' } })).toMatchObject({
      changed: false,
      kept: ['README.md'],
      pullRequestUrl: undefined,
    });
    await save(4);
    const result = await push({ createPr: true });
    expect(result.kept).toEqual(['README.md']);
    expect(bed.server.head(ID, 'refs/pr/1').files.get('README.md')!.toString()).toBe('# Mine\n');
  });

  it('of a private repository is read with the token, and a failure to read it is repeated', async () => {
    await push({ private: true });
    bed.server.commit(ID, { 'README.md': '# Mine\n' });
    bed.server.fault(/resolve/, answer(503));
    expect((await push()).kept).toEqual(['README.md']);
    bed.server.fault(/resolve/, answer(403), 9);
    await expect(push()).rejects.toThrow(/does not allow this with the token/);
  });
});

describe('a README.md that cannot be seen', () => {
  it.each([
    ['an answer without a body', 204, ''],
    ['an empty file', 200, ''],
    ['a page in its place', 200, '<html><title>Sign in</title></html>'],
  ])('is not replaced: %s', async (_what, status, body) => {
    await push();
    bed.server.commit(ID, { 'README.md': '# Mine\n' });
    bed.server.fault(/resolve/, answer(status, body), 9);
    await expect(push({ maxAttempts: 2 })).rejects.toThrow(/what came as README.md is not the file that the Hub lists/);
    expect(card()).toBe('# Mine\n');
  });

  it('an address of the pull request shows no token', async () => {
    await push();
    bed.server.commit(ID, { 'README.md': '# Mine\n' });
    await save(5);
    bed.server.fault(
      /commit/,
      answer(200, JSON.stringify({ commitOid: 'hf_writer', pullRequestUrl: 'https://h/hf_writer', success: true })),
    );
    const result = await push({ createPr: true });
    expect(JSON.stringify(result)).not.toContain('hf_writer');
    expect(result.pullRequestUrl).toBe('https://h/***');
  });
});

describe('what else lies in the repository', () => {
  it('stays, other adapters included', async () => {
    bed.server.commit(ID, {
      '.gitattributes': '*.bin filter=lfs\n',
      'checkpoint-5/adapter_model.safetensors': 'other weights',
      'checkpoint-5/README.md': '# Five',
      'notes.txt': 'mine',
    });
    await push();
    await save(4);
    await push();
    expect(file('notes.txt')).toBe('mine');
    expect(file('.gitattributes')).toBe('*.bin filter=lfs\n');
    expect(file('checkpoint-5/adapter_model.safetensors')).toBe('other weights');
    expect(file('checkpoint-5/README.md')).toBe('# Five');
  });

  it('is replaced where it is the adapter: configuration, weights and template are those of the folder', async () => {
    await writeFile(join(bed.folder, 'chat_template.jinja'), '{{ mine }}');
    await push();
    bed.server.commit(ID, { 'chat_template.jinja': '{{ other }}', 'adapter_config.json': '{}' });
    const result = await push();
    expect([...result.uploaded].sort()).toEqual(['adapter_config.json', 'chat_template.jinja']);
    expect(file('chat_template.jinja')).toBe('{{ mine }}');
    expect(result.kept).toEqual([]);
  });
});

it('saveAdapter leaves a README.md in its folder alone', async () => {
  await writeFile(join(bed.folder, 'README.md'), '# By hand');
  await save(5);
  expect(await readFile(join(bed.folder, 'README.md'), 'utf8')).toBe('# By hand');
});
