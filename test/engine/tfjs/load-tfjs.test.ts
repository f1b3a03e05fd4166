import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { loadTfjs, type TfjsPackage } from '../../../src/engine/tfjs/load-tfjs.js';
import { asTfNamespace } from '../../../src/engine/tfjs/tf-namespace.js';
import { EngineError } from '../../../src/errors.js';

const node = vi.hoisted(() => ({ isNullOrUndefined: undefined as unknown }));
vi.mock('node:util', async (original) => ({
  ...(await original<object>()),
  get isNullOrUndefined() {
    return node.isNullOrUndefined;
  },
}));

/** A module with every function that the engine uses, and a mark. */
function namespaceOf(mark: string): string {
  let missing = '';
  try {
    asTfNamespace({});
  } catch (error) {
    missing = /it has no ([\w, ]+)/.exec((error as Error).message)![1]!;
  }
  return `module.exports = { mark: '${mark}', ${missing.split(', ').map((name) => `${name}() {}`)} };`;
}

let project: string;

async function install(name: string, program: string): Promise<void> {
  const folder = join(project, 'node_modules/@tensorflow', name);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'index.js'), program);
}

async function failure(choice: TfjsPackage): Promise<EngineError> {
  const error = await loadTfjs(choice, project).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(EngineError);
  return error as EngineError;
}

describe('loadTfjs', () => {
  beforeEach(async () => {
    project = await mkdtemp(join(tmpdir(), 'load-tfjs-'));
    // As on Node 22.
    node.isNullOrUndefined = () => false;
  });
  afterEach(() => rm(project, { recursive: true, force: true }));

  it("gives the namespace from the project's own modules", async () => {
    await install('tfjs-node', namespaceOf('cpu'));
    expect(await loadTfjs('tfjs-node', project)).toMatchObject({ mark: 'cpu' });
    expect(await loadTfjs('tfjs', project)).toMatchObject({ mark: 'cpu' });
    await install('tfjs-node-gpu', namespaceOf('gpu'));
    expect(await loadTfjs('tfjs', project)).toMatchObject({ mark: 'gpu' });
  });

  it('says how to install what is missing, and what it needs', async () => {
    const missing = await failure('tfjs-node-gpu');
    expect(missing.message).toContain(`@tensorflow/tfjs-node-gpu is not installed for ${project}`);
    expect(missing.hint).toMatch(/npm install @tensorflow\/tfjs-node-gpu .*CUDA 11\.2 and cuDNN 8\.1.*Node 22/);
    const both = await failure('tfjs');
    expect(both.hint).toMatch(/tfjs-node-gpu \(.*\), or npm install @tensorflow\/tfjs-node \(for the CPU\)/);
  });

  it('refuses a Node that the package cannot run on, before loading it', async () => {
    node.isNullOrUndefined = undefined;
    await install('tfjs-node', 'throw new Error("it was loaded")');
    const error = await failure('tfjs-node');
    expect(error.message).toContain(`tfjs-node does not run on Node ${process.versions.node}`);
    expect(error.hint).toContain('Node 22');
  });

  it('explains a missing native part', async () => {
    await install('tfjs-node', 'throw new Error("tfjs_binding.node can not be found")');
    const error = await failure('tfjs-node');
    expect(error.message).toContain('is installed but cannot be loaded: tfjs_binding.node can not be found');
    expect(error.hint).toContain('npm rebuild @tensorflow/tfjs-node --build-addon-from-source');
    expect(error.cause).toBeInstanceOf(Error);
  });

  it('refuses other names, and a package that is not TensorFlow.js', async () => {
    expect((await failure('tfjs-nodes' as TfjsPackage)).message).toContain('no TensorFlow.js package "tfjs-nodes"');
    await install('tfjs-node', 'module.exports = { add() {} };');
    expect((await failure('tfjs-node')).message).toContain('it has no ready');
  });
});
