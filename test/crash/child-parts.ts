/** What the children of the crash tests have in common: the tiny model with an adapter, and steps and saves that take time. */
import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { VlmCollator } from '../../src/data/vlm-collator.js';
import type { Engine } from '../../src/engine/engine.js';
import { saveAdapter } from '../../src/lora/adapter-file.js';
import { applyLora, type LoraAdapter } from '../../src/lora/apply-lora.js';
import { LAYER_PROJECTIONS } from '../../src/lora/lora-config.js';
import { loadModel, loadProcessor } from '../../src/model/load.js';
import type { SftTrainerOptions } from '../../src/train/sft-trainer.js';

/** At once, so that nothing is lost when the process is killed. */
export const say = (line: string): void => void writeSync(1, `${line.replaceAll('\n', ' ')}\n`);

/** @param times least milliseconds of a micro-batch, and of a save, which says `saving` first */
export async function childParts(
  checkpoint: string,
  engine: Engine,
  alpha: number,
  times: { readonly 'step-ms': string; readonly 'save-ms': string },
): Promise<{ adapter: LoraAdapter; parts: Pick<SftTrainerOptions, 'model' | 'collator' | 'saveAdapter'> }> {
  const model = await loadModel(checkpoint, { engine });
  const processor = await loadProcessor(checkpoint);
  const adapter = applyLora(model, { r: 4, alpha, dropout: 0.1, targetModules: [...LAYER_PROJECTIONS] });
  const collator = new VlmCollator({ ...processor, chatTemplate: processor.chatTemplate! });
  const parts: Pick<SftTrainerOptions, 'model' | 'collator' | 'saveAdapter'> = {
    model,
    collator: {
      collate: async (examples, options) => {
        await sleep(Number(times['step-ms']));
        return collator.collate(examples, options);
      },
    },
    saveAdapter: async (directory) => {
      say('saving');
      await sleep(Number(times['save-ms']));
      await saveAdapter(adapter, directory);
    },
  };
  return { adapter, parts };
}
