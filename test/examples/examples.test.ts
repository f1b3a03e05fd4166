/** Each short example as a newcomer starts it, without options, in this process; and what it has made. */
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

const folder = fileURLToPath(new URL('../../examples/', import.meta.url));
const { argv } = process;
let out: string;
let printed: string[];

beforeEach(async () => {
  out = await mkdtemp(join(tmpdir(), 'examples-'));
  printed = [];
  vi.spyOn(console, 'log').mockImplementation((line) => void printed.push(String(line)));
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  // Whoever writes waits for the answer.
  vi.spyOn(process.stderr, 'write').mockImplementation((_, ...more: unknown[]) => {
    for (const written of more) if (typeof written === 'function') written();
    return true;
  });
});
afterEach(async () => {
  process.argv = argv;
  vi.restoreAllMocks();
  await rm(out, { recursive: true });
});

/** Runs it to its end. */
async function run(name: string, ...options: string[]): Promise<Record<string, unknown>> {
  process.argv = [process.execPath, name, '--out', out, ...options];
  return (await import(`${folder}${name}.ts`)) as Record<string, unknown>;
}

const adapterFiles = ['adapter_config.json', 'adapter_model.safetensors', 'chat_template.jinja'];

describe('the example', () => {
  it('quickstart ends with an adapter and the accuracy on the test images, in 60 lines', async () => {
    expect((await readFile(`${folder}quickstart.ts`, 'utf8')).trimEnd().split('\n').length).toBeLessThanOrEqual(60);
    await run('quickstart');
    expect((await readdir(join(out, 'adapter'))).sort()).toEqual(expect.arrayContaining(adapterFiles));
    expect(printed.at(-1)).toMatch(/^Accuracy \d+\.\d % (.|\n)*\d+ of 40 samples right, /);
    expect(await readdir(join(out, 'checkpoints'))).toEqual(
      expect.arrayContaining(['checkpoint-30', 'train-log.jsonl']),
    );
  });

  it('conversation-file reads all rows, and measures those that are held out', async () => {
    await run('conversation-file');
    expect(printed[0]).toMatch(/train\.jsonl: 90 samples, OpenAI messages$/);
    const [, loss] = /^loss of 9 held-out conversations: (\d\.\d{4}) at step 22$/.exec(printed.at(-1)!)!;
    // Six at the start.
    expect(Number(loss)).toBeLessThan(3);
    expect((await readdir(join(out, 'adapter'))).sort()).toEqual(expect.arrayContaining(adapterFiles));
  });

  it('resume ends with the adapter of a run that never stopped', async () => {
    await run('resume');
    expect(printed).toEqual([
      `10 steps, the last of them in ${join(out, 'checkpoints', 'checkpoint-10')}`,
      'the adapter is that of a run that was never stopped',
    ]);
  });

  it('evaluate-adapter compares an adapter with its base model', async () => {
    await run('evaluate-adapter');
    const report = JSON.parse(await readFile(join(out, 'report.json'), 'utf8'));
    expect([report.mode, report.count, report.samples.length]).toEqual(['scored', 30, 30]);
    expect(printed.at(-1)).toMatch(/accuracy +\d+\.\d % +\d+\.\d %(.|\n)*Of 30 samples in both/);
  });

  it('merge-and-export writes a model that answers as base and adapter do', async () => {
    await run('merge-and-export');
    expect(printed[0]).toMatch(/^28 layers changed, \d+ files in /);
    expect(printed[1]).toBe('both answer the same');
    expect(await readdir(join(out, 'merged'))).toEqual(
      expect.arrayContaining(['config.json', 'model.safetensors', 'tokenizer.json', 'chat_template.jinja']),
    );
  });

  it('several-images learns from two images a sample', async () => {
    await run('several-images');
    expect(printed[0]).toBe('a sample has 2 images and 66 tokens');
    expect(printed.slice(-2)).toEqual([expect.stringMatching(/: (yes|no)$/), expect.stringMatching(/: (yes|no)$/)]);
    expect((await readdir(join(out, 'adapter'))).sort()).toEqual(expect.arrayContaining(adapterFiles));
  });
});

describe('the example stream-answers', () => {
  let home: string;
  let server: Server;
  let url: string;

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'stream-answers-'));
    vi.spyOn(console, 'log').mockImplementation(() => undefined);
    process.argv = [process.execPath, 'stream-answers', '--out', home, '--port', '0'];
    ({ server } = (await import(`${folder}stream-answers.ts`)) as { server: Server });
    process.argv = argv;
    if (!server.listening) await once(server, 'listening');
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/answers`;
  });
  afterAll(async () => {
    server.close();
    await once(server, 'close');
    await rm(home, { recursive: true });
  });

  const ask = (body: unknown, options: RequestInit = {}): Promise<Response> =>
    fetch(url, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), ...options });

  it('streams the pieces of an answer, and says when it is done', async () => {
    const response = await ask({ question: 'What is it?' });
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
    const events = (await response.text()).trimEnd().split('\n\n');
    expect(events.at(-1)).toBe('event: done\ndata: {}');
    const pieces = events.slice(0, -1).map((event) => JSON.parse(event.replace(/^data: /, '')).text);
    expect(pieces.length).toBeGreaterThan(3);
    expect(pieces.every((piece) => typeof piece === 'string')).toBe(true);
  });

  it.each([
    ['{', 400, /no JSON/],
    [{}, 400, /`question` of 1 to 2000 characters/],
    [{ question: 'x'.repeat(2001) }, 400, /`question` of 1 to 2000 characters/],
    [{ question: 'x', image: 3 }, 400, /`image` in base64/],
    [{ question: 'x', image: 'bm8gaW1hZ2U=' }, 400, /not a JPEG, PNG/],
    [{ question: 'x', image: 'A'.repeat(9_000_000) }, 413, /more than 8388608 bytes/],
  ])('refuses %.40j', async (body, status, message) => {
    const response = await ask(body);
    const { message: said } = (await response.json()) as { message: string };
    expect([response.status, said]).toEqual([status, expect.stringMatching(message)]);
  });

  it('knows no other address', async () => {
    const response = await fetch(url.replace('/answers', '/'));
    expect(response.status).toBe(404);
    await response.text();
  });

  it('answers one question at a time, lets one wait, and refuses others', async () => {
    const responses = await Promise.all(['one', 'two', 'three', 'four'].map((question) => ask({ question })));
    const texts = await Promise.all(responses.map((response) => response.text()));
    const refused = responses.filter(({ status }) => status === 503);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.every(({ headers }) => headers.get('retry-after') === '5')).toBe(true);
    for (const [i, { status }] of responses.entries()) {
      expect(texts[i]).toContain(status === 200 ? 'event: done' : 'busy: one question is being answered and one waits');
    }
  });

  it('ends an answer whose client has left, and goes on with the next', async () => {
    const leaves = new AbortController();
    const left = await ask({ question: 'one' }, { signal: leaves.signal });
    leaves.abort();
    await expect(left.text()).rejects.toThrow();
    expect(await (await ask({ question: 'two' })).text()).toContain('event: done');
  });
});
