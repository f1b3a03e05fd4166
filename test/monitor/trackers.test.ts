import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { TrainerCallback } from '../../src/train/callbacks.js';
import { linearDataset, linearModel, linearTrainer } from '../train/linear-model.js';
import { mlflow } from './trackers/mlflow.js';
import { trackio } from './trackers/trackio.js';

let outputDir: string;
/** What came, by the end of its address. */
let requests: [path: string, body: Record<string, unknown>][] = [];
const server = createServer(async (request, response) => {
  let text = '';
  for await (const part of request) text += String(part);
  requests.push([request.url!, JSON.parse(text) as Record<string, unknown>]);
  response.end(JSON.stringify({ run: { info: { run_id: 'r1' } } }));
});
let address: string;

beforeAll(async () => {
  outputDir = await mkdtemp(join(tmpdir(), 'trackers-'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  server.closeAllConnections();
  server.close();
  await rm(outputDir, { recursive: true });
});

async function requestsOf(callback: TrainerCallback): Promise<typeof requests> {
  requests = [];
  const config = { outputDir, saveStrategy: 'no', loggingSteps: 3, evalStrategy: 'steps', evalSteps: 6 } as const;
  await linearTrainer(linearModel(), config, { callbacks: [callback], evalDataset: linearDataset(3, 20) }).train();
  return requests;
}

it('the callbacks of the documentation are those that are checked here', async () => {
  const page = await readFile(new URL('../../docs/monitoring.md', import.meta.url), 'utf8');
  const folder = new URL('./trackers/', import.meta.url);
  const names = (await readdir(folder)).filter((name) => !name.endsWith('.d.ts'));
  expect(names.length).toBe(3);
  for (const name of names)
    expect(page.replaceAll('```ts compile', '```ts')).toContain(
      `\`\`\`ts\n${await readFile(new URL(name, folder), 'utf8')}\`\`\``,
    );
});

it('MLflow gets the requests of its REST API', async () => {
  const [create, params, ...others] = await requestsOf(mlflow('7', address));
  expect(create).toMatchObject(['/api/2.0/mlflow/runs/create', { experiment_id: '7', start_time: expect.any(Number) }]);
  expect(params![0]).toBe('/api/2.0/mlflow/runs/log-batch');
  expect(params![1].run_id).toBe('r1');
  expect(params![1].params).toContainEqual({ key: 'learningRate', value: '0.02' });
  const metrics = others.slice(0, -1).map(([path, { run_id, metrics }]) => {
    expect([path, run_id]).toEqual(['/api/2.0/mlflow/runs/log-batch', 'r1']);
    return (metrics as { key: string; value: number; step: number; timestamp: number }[]).map(
      ({ key, step }) => `${key} ${step}`,
    );
  });
  expect(metrics.map((names) => names[0])).toEqual([
    'train/loss 3',
    'train/loss 6',
    'eval/loss 6',
    'train/train_loss 6',
  ]);
  expect(others.at(-1)).toMatchObject(['/api/2.0/mlflow/runs/update', { run_id: 'r1', status: 'FINISHED' }]);
});

it('trackio gets the requests of its server', async () => {
  const all = await requestsOf(trackio('x-rays', 'first', address));
  expect(all.map(([path]) => path)).toEqual(Array.from({ length: 4 }, () => '/api/bulk_log'));
  const [first] = all[0]![1].logs as Record<string, unknown>[];
  expect(first).toMatchObject({ project: 'x-rays', run: 'first', step: 3, config: { learningRate: 0.02 } });
  expect(Object.keys(first!.metrics as object)).toContain('train/loss');
});
