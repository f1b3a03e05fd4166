/** A folder of an adapter for each test, and ways to change what was saved there. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { SafetensorsFile, type TensorToWrite, writeSafetensors } from '../../src/formats/safetensors.js';
import { applyLora, type LoraAdapter } from '../../src/lora/apply-lora.js';
import type { LoraConfigOptions } from '../../src/lora/lora-config.js';
import { type FakeModel, fakeModel, someNumbers } from './fake-engine.js';

export let folder: string;

/** To be called once in each test file: hooks belong to the file that sets them up. */
export function useAdapterFolder(): void {
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'adapter-'));
  });
  afterEach(async () => {
    await rm(folder, { recursive: true, force: true });
  });
}

/** An adapter whose A and B all have values. */
export function trained(options: LoraConfigOptions, model: FakeModel = fakeModel()): LoraAdapter {
  const adapter = applyLora(model, options);
  model.engine.writeParameters(adapter.parameters, someNumbers(adapter.parameters.size, 3));
  return adapter;
}

/** Renames, drops or reshapes the tensors of a saved adapter. */
export async function rewrite(
  change: (tensor: TensorToWrite & { data: Float32Array }) => TensorToWrite[],
): Promise<void> {
  const path = join(folder, 'adapter_model.safetensors');
  const file = await SafetensorsFile.open(path);
  const tensors: TensorToWrite[] = [];
  for (const { name, dtype, shape } of file.tensors.values()) {
    tensors.push(...change({ name, dtype, shape, data: await file.readFloat32(name) }));
  }
  await file.close();
  await writeSafetensors(path, tensors);
}

export async function rewriteConfig(changes: Record<string, unknown>): Promise<void> {
  const path = join(folder, 'adapter_config.json');
  await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...changes }));
}

/** The spelling of transformers up to 4.51. */
export const oldName = (name: string): string =>
  name
    .replace('base_model.model.model.language_model.', 'base_model.model.language_model.model.')
    .replace('base_model.model.model.vision_tower.', 'base_model.model.vision_tower.')
    .replace('base_model.model.model.multi_modal_projector.', 'base_model.model.multi_modal_projector.');
