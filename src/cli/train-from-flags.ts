/** `train` with what its command line says. */
import { join } from 'node:path';
import { isMainProcess } from '../distributed/main-process.js';
import { exists } from '../files/regular-file.js';
import { checkPushAccess } from '../hub/push-files.js';
import { listCheckpoints } from '../train/checkpoint.js';
import { isFolder, requireAdapterName, requireModelName } from './open-model.js';
import { requireOption } from './option-values.js';
import { checkOutputFolder, checkpointsDirOf } from './output-folder.js';
import { pushAdapter } from './push-adapter.js';
import { outputOfRank } from './ranks.js';
import { readConfigFile } from './read-config-file.js';
import { type RunSettings, resolveSettings } from './run-settings.js';
import { nextCommands, shellWord, summaryLines } from './run-summary.js';
import { SETTINGS_FILE, type TrainRequest, type TrainSettings, train } from './train.js';
import type { TrainFlags } from './train-flags.js';
import { untilStopped } from './until-stopped.js';
import { type Output, UsageError } from './usage.js';

/** @returns the exit code */
export async function trainFromFlags(flags: TrainFlags, ofProcess: Output): Promise<number> {
  const output = outputOfRank(ofProcess);
  const isMain = isMainProcess();
  const settings = await settingsFrom(flags);
  const { outputDir } = settings;
  await requireModelName(settings.model, 'train');
  if (settings.adapter !== undefined) await requireAdapterName(settings.adapter, 'train');
  const repo = flags.pushToHub;
  if (repo !== undefined) {
    if (settings.baseModel === undefined && (await isFolder(settings.model))) {
      throw new UsageError('train: --push-to-hub: the card needs the name that the base model has on the Hub', {
        hint: 'Give it by --base-model, or --model by that name.',
      });
    }
    // Before the training, not after.
    output.print(`will push to ${await checkPushAccess(repo)}`);
  }
  const work = async (signal: AbortSignal): Promise<number> => {
    const request = { way: wayOf(flags), live: isMain && (flags.live ?? false), report: reportOf(flags), signal };
    const trained = await train(settings, request, output);
    const url =
      repo === undefined || !isMain
        ? undefined
        : await pushAdapter(trained.adapter, repo, settings, { signal, output });
    const summary = { ...trained, url };
    output.print('');
    for (const line of [...summaryLines(summary), '', ...nextCommands(nextOf(settings, trained.adapter))]) {
      output.print(line);
    }
    if (flags.json) output.print(JSON.stringify(summary));
    return 0;
  };
  return untilStopped(output, work, {
    stopping: 'saving; again ends it at once',
    stopped: async () => {
      const saved = (await listCheckpoints(checkpointsDirOf(outputDir))).at(-1);
      if (!saved) return 'stopped before anything was learned';
      return `stopped after step ${saved.step}, which is saved; to go on:
  npx ministral-tune train --resume --output-dir ${shellWord(outputDir)}`;
    },
  });
}

function wayOf({ resume, overwrite }: TrainFlags): TrainRequest['way'] {
  if (resume && overwrite) throw new UsageError('train: --resume and --overwrite contradict each other');
  return resume ? 'resume' : overwrite ? 'overwrite' : 'new';
}

function reportOf({ report }: TrainFlags): string | false | undefined {
  return report === true ? undefined : report;
}

/** Settings of the run that is resumed, of a file, and of the flags: later ones win. */
async function settingsFrom(flags: TrainFlags): Promise<TrainSettings> {
  const read = async (name: string) => ({ name, options: await readConfigFile(name, 'train: --config') });
  const files = flags.config === undefined ? [] : [await read(flags.config)];
  const folder = flags.outputDir ?? files[0]?.options['outputDir'];
  const outputDir = typeof folder === 'string' && folder !== '' ? folder : 'outputs';
  if (flags.resume) {
    await checkOutputFolder(outputDir, 'resume');
    const saved = join(outputDir, SETTINGS_FILE);
    // The folder may have been moved since.
    if (await exists(saved)) {
      const { name, options } = await read(saved);
      files.unshift({ name, options: { ...options, outputDir } });
    }
  }
  const settings = resolveSettings(files, flags);
  const ofNew = Object.keys(settings.lora);
  if (settings.adapter !== undefined && ofNew.length > 0) {
    throw new UsageError(`train: ${ofNew.join(', ')}: no effect with --adapter, which has its own`, {
      hint: 'Leave them out, or begin with a new adapter.',
    });
  }
  return {
    ...settings,
    data: requireOption(settings.data, 'train', '--data'),
    model: requireOption(settings.model, 'train', '--model'),
  };
}

function nextOf({ data, labels }: RunSettings & { readonly data: string }, adapter: string): string[] {
  const [folder, source] = [shellWord(adapter), shellWord(data)];
  const table = labels === undefined ? '' : ` --labels ${shellWord(labels)}`;
  return [
    `evaluate --adapter ${folder} --data ${source}${table}`,
    `merge --adapter ${folder} --output merged`,
    `push ${folder} USER/NAME`,
  ];
}
