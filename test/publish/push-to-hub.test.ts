import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { CheckpointError, ConfigError, HubError } from '../../src/errors.js';
import type { PushProgress } from '../../src/hub/push-files.js';
import { loadAdapter } from '../../src/lora/adapter-file.js';
import type { PushToHubOptions } from '../../src/publish/push-to-hub.js';
import { fakeModel } from '../lora/fake-engine.js';
import { sha256 } from '../servers/hub-server.js';
import { answer, hangUp } from '../servers/scripted-server.js';
import { pushBed } from './push-bed.js';

const ID = 'user/bone-adapter';
const bed = pushBed(ID, ({ save }) => save({ r: 4, towers: 'language' }, 3));
const { push, card, commits, save } = bed;

describe('pushToHub', () => {
  it('makes a public repository with the adapter and its card', async () => {
    const seen: PushProgress[] = [];
    const result = await push({ onProgress: (progress) => seen.push(progress) });
    expect(result).toMatchObject({
      repoId: ID,
      url: `${bed.server.endpoint}/${ID}`,
      changed: true,
      pullRequestUrl: undefined,
    });
    expect(result.commit).toBe(bed.server.head(ID).oid);
    expect([...result.uploaded].sort()).toEqual(['README.md', 'adapter_config.json', 'adapter_model.safetensors']);
    const { files, summary } = bed.server.head(ID);
    expect(summary).toBe('Upload adapter with ministral-tune');
    for (const name of ['adapter_config.json', 'adapter_model.safetensors']) {
      expect(files.get(name)!.equals(await readFile(join(bed.folder, name)))).toBe(true);
    }
    expect(bed.server.repos.get(ID)!.private).toBe(false);
    expect(seen.at(-1)?.uploaded).toBe(1);
    expect(new Set(seen.map(({ file }) => file))).toContain('adapter_model.safetensors');
    expect(bed.warnings).toEqual([]);
  });

  it('commits nothing the second time, and then only what changed', async () => {
    await push();
    bed.server.storage.requests.length = 0;
    expect(await push()).toMatchObject({ changed: false, uploaded: [], commit: bed.server.head(ID).oid });
    expect(commits()).toBe(2);
    await save({ r: 4, towers: 'language' }, 4);
    expect(await push({ commitMessage: 'Second' })).toMatchObject({
      changed: true,
      uploaded: ['adapter_model.safetensors'],
    });
    expect(bed.server.head(ID).summary).toBe('Second');
    expect(commits()).toBe(3);
  });

  it('takes a name alone for a repository of whoever the token belongs to', async () => {
    expect(await push({}, 'bone-adapter')).toMatchObject({ repoId: ID, changed: true });
    expect(card()).toContain(`"${ID}"`);
    await expect(push({ token: 'hf_unknown' }, 'bone-adapter')).rejects.toThrow(/the Hub does not accept the token/);
  });

  it('loads again by its name', async () => {
    const adapter = await save({ r: 4, rankPattern: { q_proj: 2 } }, 5);
    await push({ private: true });
    expect(bed.server.repos.get(ID)!.private).toBe(true);
    const options = { endpoint: bed.server.endpoint, cacheDir: join(bed.folder, 'cache') };
    const loaded = await loadAdapter(ID, fakeModel(), { ...options, token: 'hf_writer' });
    expect(await loaded.readValues()).toEqual(await adapter.readValues());
    const again = await loadAdapter(ID, fakeModel(), { ...options, localFilesOnly: true });
    expect(again.modules).toHaveLength(adapter.modules.length);
    await expect(loadAdapter(ID, fakeModel(), { ...options, token: false })).rejects.toThrow(/no public repository/);
    bed.server.commit('user/model', { 'config.json': '{}' });
    await expect(loadAdapter('user/model', fakeModel(), options)).rejects.toThrow(/it holds no adapter/);
    bed.server.commit('user/old', { 'adapter_config.json': '{}', 'adapter_model.bin': 'pickle' });
    await expect(loadAdapter('user/old', fakeModel(), options)).rejects.toThrow(/a Python pickle, which is never read/);
  });

  it('uploads in parts where the Hub asks for them', async () => {
    bed.server.partSize = 1000;
    await push();
    const weights = await readFile(join(bed.folder, 'adapter_model.safetensors'));
    expect(bed.server.head(ID).files.get('adapter_model.safetensors')!.equals(weights)).toBe(true);
    const parts = bed.server.storage.requests.filter(({ path }) => path.startsWith('/part/'));
    expect(parts).toHaveLength(Math.ceil(weights.length / 1000));
    expect(bed.server.storage.requests.every(({ headers }) => headers.authorization === undefined)).toBe(true);
  });

  it('opens a pull request, and none if nothing differs', async () => {
    await push();
    expect((await push({ createPr: true })).pullRequestUrl).toBeUndefined();
    await save({ r: 4, towers: 'language' }, 4);
    const result = await push({ createPr: true });
    expect(result.pullRequestUrl).toBe(`${bed.server.endpoint}/${ID}/discussions/1`);
    expect(commits()).toBe(2);
  });

  it('survives a Hub that is busy, and connections that break, at every step', async () => {
    bed.server.partSize = 1000;
    for (const step of [
      /revision/,
      /repos\/create/,
      /tree/,
      /preupload/,
      /objects\/batch/,
      /PUT \/part/,
      /complete/,
      /commit\/main/,
    ]) {
      bed.server.fault(step, answer(503));
      bed.server.fault(step, hangUp);
    }
    bed.server.fault(/commit\/main/, answer(429, '', { 'retry-after': '0' }));
    await push();
    expect(commits()).toBe(2);
    expect(await push()).toMatchObject({ changed: false });
  });

  it('sees that something was done although the answer was lost', async () => {
    // The repository is made, and the commit happens; then the connection breaks.
    bed.server.lose(/repos\/create/);
    bed.server.lose(/commit\/main/);
    expect(await push()).toMatchObject({ changed: false, commit: expect.any(String) });
    expect(commits()).toBe(2);
    await save({ r: 4, towers: 'language' }, 4);
    bed.server.lose(/commit\/main/);
    await expect(push({ createPr: true })).rejects.toThrow(/the pull request may have been opened all the same/);
  });

  it('starts over when another commit came in between, and when a signed address has expired', async () => {
    await push();
    await save({ r: 4, towers: 'language' }, 4);
    bed.server.fault(/preupload/, (_request, response) => {
      bed.server.commit(ID, { 'other.txt': 'from elsewhere' });
      answer(200, { files: [{ path: 'adapter_model.safetensors', uploadMode: 'lfs' }] })(_request, response);
    });
    bed.server.fault(/PUT \/put/, answer(403, '<Error><Code>AccessDenied</Code></Error>'));
    await push();
    expect(bed.server.head(ID).files.has('other.txt')).toBe(true);
    expect(sha256(bed.server.head(ID).files.get('adapter_model.safetensors')!)).toBe(
      sha256(await readFile(join(bed.folder, 'adapter_model.safetensors'))),
    );
  });

  it('stops when it is told to', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    bed.server.fault(/PUT \/put/, () => controller.abort(reason));
    await expect(push({ signal: controller.signal })).rejects.toBe(reason);
    await push();
    expect(commits()).toBe(2);
  });
});

describe('what cannot be pushed', () => {
  it('without a token, or into a foreign house', async () => {
    await expect(push({ token: false })).rejects.toThrow(/an access token is needed/);
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    await expect(push()).rejects.toThrow(/nothing can be pushed, the Hub is not asked: HF_HUB_OFFLINE is set/);
    vi.stubEnv('HF_HUB_OFFLINE', '');
    const error = await push({}, 'someone/else').catch((caught: unknown) => caught as HubError);
    expect(error).toBeInstanceOf(HubError);
    expect((error as HubError).message).toMatch(
      /the Hub does not allow this with the token from the option `token` \(403\)/,
    );
    expect((error as HubError).hint).toMatch(/Is "someone" your account or organisation, and may the token write\?/);
    bed.server.commit(ID, { 'a.txt': 'a' });
    bed.server.tokens.set('hf_reader', 'someone');
    const read = await push({ token: 'hf_reader' }).catch((caught: Error) => caught.message);
    expect(read).toMatch(/\(403\)/);
    // What the server echoes is shown without the token.
    expect(read).toContain('not ***');
    expect(read).not.toContain('hf_reader');
    expect(commits()).toBe(1);
  });

  it('an object that the storage refuses, in the words of the Hub', async () => {
    bed.server.fault(
      /objects\/batch/,
      answer(200, {
        objects: [
          {
            oid: sha256(await readFile(join(bed.folder, 'adapter_model.safetensors'))),
            error: { code: 422, message: 'quota exceeded' },
          },
        ],
      }),
    );
    await expect(push()).rejects.toThrow(/the upload failed: Error while doing LFS batch call .*quota exceeded/);
  });

  it('a folder that holds no sound adapter, before anything is sent', async () => {
    bed.server.api.requests.length = 0;
    await writeFile(
      join(bed.folder, 'adapter_config.json'),
      '{"peft_type":"LORA","target_modules":["q_proj"],"use_dora":true}',
    );
    await expect(push()).rejects.toThrow(/use_dora/);
    await rm(join(bed.folder, 'adapter_config.json'));
    await expect(push()).rejects.toThrow(CheckpointError);
    expect(bed.server.asked()).toEqual([]);
  });

  it('a folder of something else, by what it holds', async () => {
    for (const name of ['adapter_config.json', 'adapter_model.safetensors']) await rm(join(bed.folder, name));
    await writeFile(join(bed.folder, 'params.json'), '{}');
    await expect(push()).rejects.toThrow(/holds Mistral-native files/);
    await expect(push({ chatTemplate: 'a.jinja' } as never)).rejects.toThrow(/not the path of a file/);
    expect(bed.server.asked()).toEqual([]);
  });

  it('the path of a base model', async () => {
    await save({ r: 4, towers: 'language' }, 3, bed.folder);
    await expect(push()).rejects.toThrow(/is a folder of this machine/);
    await save({ r: 4, towers: 'language' }, 3, '/models/somewhere/else');
    await expect(push()).rejects.toThrow(ConfigError);
    expect(bed.server.asked()).toEqual([]);
    await push({ modelCard: { baseModel: 'org/base' } });
    const config = JSON.parse(bed.server.head(ID).files.get('adapter_config.json')!.toString());
    expect(config.base_model_name_or_path).toBe('org/base');
    expect(card()).not.toContain('/models/');
  });

  it('options that nobody knows', async () => {
    await expect(push({ modelCard: { licence: 'mit' } } as never)).rejects.toThrow(/did you mean `license`/);
  });
});

describe('what says how the adapter was trained', () => {
  const template = '{{ messages }}';

  it('goes along from the folder, and nothing else of it does', async () => {
    await writeFile(join(bed.folder, 'chat_template.jinja'), template);
    await writeFile(join(bed.folder, 'tokenizer_config.json'), '{}');
    await writeFile(join(bed.folder, 'optimizer.pt'), 'x');
    const { uploaded } = await push();
    expect([...uploaded].sort()).toEqual([
      ...[
        'README.md',
        'adapter_config.json',
        'adapter_model.safetensors',
        'chat_template.jinja',
        'tokenizer_config.json',
      ],
    ]);
    expect(card()).toContain(`await fromPretrained('${ID}')`);
    expect(card()).toContain(`with open(hf_hub_download("${ID}", "chat_template.jinja")) as file:`);
    expect(card()).toContain(`hf download ${ID} chat_template.jinja --local-dir .\nvllm serve org/base`);
    expect(card()).toContain('=user/bone-adapter \\\n  --chat-template ./chat_template.jinja');
    const loaded = await loadAdapter(ID, fakeModel(), {
      endpoint: bed.server.endpoint,
      token: 'hf_writer',
      onWarning: () => undefined,
    });
    expect(loaded.origin).toEqual({ baseModelNameOrPath: 'org/base', revision: undefined, chatTemplate: template });
  });

  it('may be given, and wins over that of the folder', async () => {
    await writeFile(join(bed.folder, 'chat_template.jinja'), '{{ other }}');
    const file = (): string => bed.server.head(ID).files.get('chat_template.jinja')!.toString();
    await push({ chatTemplate: template });
    expect(file()).toBe(template);
    expect(card()).toContain('--chat-template');
    await push({ processor: { chatTemplate: { source: '{{ third }}' } } });
    expect(file()).toBe('{{ third }}');
  });
});

describe('the card', () => {
  it('says what is known of the adapter alone', async () => {
    await push();
    expect(card()).toContain('base_model: "org/base"\nlibrary_name: peft\n');
    expect(card()).toContain('- "base_model:adapter:org/base"');
    expect(card()).toContain('# bone-adapter');
    expect(card()).toContain('| adapted layers | 14 language |');
    expect(card()).toContain('--enable-lora --max-lora-rank 8 \\\n  --lora-modules bone-adapter=user/bone-adapter');
    expect(card()).not.toContain('tower-connector');
    expect(card()).not.toContain('chat_template');
    expect(card()).toContain(`PeftModel.from_pretrained(model, "${ID}")`);
  });

  it('takes the next rank that vLLM knows, and no rank above its largest', async () => {
    await save({ r: 100, towers: 'language' }, 3);
    await push();
    expect(card()).toContain('--max-lora-rank 128');
    await save({ r: 600, towers: 'language' }, 3);
    await push();
    expect(card()).not.toContain('--enable-lora');
    expect(card()).toContain('vLLM takes ranks up to 512: merge the adapter');
  });

  it('has vLLM serve the merged model where the vision tower is adapted, and so does a warning', async () => {
    await save({ r: 100, useRslora: true }, 3);
    await push();
    expect(card()).not.toContain('--enable-lora');
    expect(card()).toContain(
      'merge --adapter user/bone-adapter --output merged\nvllm serve ./merged --config-format hf',
    );
    expect(card()).toContain('vLLM ignores such layers');
    expect(card()).toContain('14 of the adapted layers belong to the vision tower or the projector');
    expect(card()).toContain('| scale | alpha / √r (rsLoRA) |');
    expect(bed.warnings).toHaveLength(1);
    expect(bed.warnings[0]).toMatch(/^14 of the 28 adapted layers .*merge the adapter into its base model/);
  });

  it('carries data, settings, metrics, images and a warning', async () => {
    const image = join(bed.folder, 'confusion matrix.png');
    await writeFile(image, 'PNG');
    const options: PushToHubOptions = {
      modelCard: {
        title: 'Bones: a "test"',
        description: 'Names fractures.',
        warning: 'Not for medical use.\nReally not.',
        license: 'apache-2.0',
        language: ['en'],
        tags: ['medical', 'lora'],
        data: 'From [Kaggle](https://example.org).',
        prompt: 'Which one? ```x```',
        config: { learningRate: 2e-4, optim: 'adamw_8bit' },
        metrics: [
          { type: 'accuracy', name: 'Accuracy', value: 0.812345, before: 0.1 },
          { type: 'f1', value: 0.5 },
        ],
        evaluatedOn: { name: 'Bone Break', type: 'bone-break', split: 'test', samples: 140 },
        pictures: [{ path: image, caption: 'Confusion [in\n%]' }],
      },
    };
    await push(options);
    expect(bed.server.head(ID).files.get('images/confusion matrix.png')!.toString()).toBe('PNG');
    const text = card();
    expect(text.slice(0, text.indexOf('\n---\n', 4))).toBe(
      [
        '---',
        'base_model: "org/base"',
        'library_name: peft',
        'pipeline_tag: image-text-to-text',
        'license: "apache-2.0"',
        'language:\n  - "en"',
        'tags:\n  - "lora"\n  - "peft"\n  - "ministral-3"\n  - "ministral-tune"\n  - "base_model:adapter:org/base"\n  - "medical"',
        'metrics:\n  - "accuracy"\n  - "f1"',
        'model-index:\n  - name: "Bones: a \\"test\\""\n    results:\n      - task:\n          type: image-text-to-text',
        '        dataset:\n          name: "Bone Break"\n          type: "bone-break"\n          split: "test"\n        metrics:',
        '          - type: "accuracy"\n            name: "Accuracy"\n            value: 0.812345',
        '          - type: "f1"\n            name: "f1"\n            value: 0.5',
      ].join('\n'),
    );
    expect(text).toContain('> [!WARNING]\n> Not for medical use.\n> Really not.');
    expect(text).toContain('On Bone Break, split test, 140 samples.');
    expect(text).toContain('| Accuracy | 0.1 | 0.8123 |\n| f1 |  | 0.5 |');
    expect(text).toContain('![Confusion \\[in %\\]](images/confusion%20matrix.png)\n\n*Confusion [in\n%]*');
    expect(text).toContain('````text\nWhich one? ```x```\n````');
    expect(text).toContain('| `learningRate` | `0.0002` |\n| `optim` | `adamw_8bit` |');
    const two = [
      { path: image, caption: 'a' },
      { path: image, caption: 'b' },
    ];
    await expect(push({ modelCard: { pictures: two } })).rejects.toThrow(/several images would become/);
    await expect(push({ modelCard: { pictures: [{ path: '/nothing.png', caption: 'a' }] } })).rejects.toThrow(
      /no such file/,
    );
  });
});
