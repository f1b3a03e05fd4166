/** The name of the model that an adapter was trained on: how it is written, and whether two are the same. */
import { stat } from 'node:fs/promises';
import type { LoraHost } from './lora-host.js';

type Origin = Pick<LoraHost, 'nameOrPath' | 'revision'>;

interface BaseModel {
  readonly name: string | undefined;
  readonly revision: string | undefined;
}

/** Repository and commit of a folder in the Hub's cache, which every tool has elsewhere. */
export function cachedRepo(path: string): { readonly name: string; readonly revision: string } | undefined {
  const [, repo, commit] = /(?:^|[\\/])models--([\w.-]+)[\\/]snapshots[\\/]([0-9a-f]{40})[\\/]*$/.exec(path) ?? [];
  return repo && commit ? { name: repo.split('--').join('/'), revision: commit } : undefined;
}

/** The base model as an adapter's configuration names it: a snapshot of the cache by its name on the Hub. */
export function baseOf({ nameOrPath, revision }: Origin): BaseModel {
  return (nameOrPath === undefined ? undefined : cachedRepo(nameOrPath)) ?? { name: nameOrPath, revision };
}

/** Whether a name says nothing to another machine. */
export async function isLocalName(name: string): Promise<boolean> {
  if (/^\w+:\/\//.test(name)) return false;
  if (/^([./\\~]|[A-Za-z]:[\\/])|\\|\/.*\//.test(name)) return true;
  return stat(name).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** A warning where an adapter is put onto another model than it was trained on; names of one model's formats are equal. */
export function otherBaseWarning(trainedOn: string | undefined, model: Origin): string | undefined {
  const here = baseOf(model).name;
  if (trainedOn === undefined || here === undefined || plainName(trainedOn) === plainName(here)) return undefined;
  return (
    `the adapter was trained on "${trainedOn}" and is put onto "${here}": its shapes fit, but unless these are the same ` +
    'weights its answers are not those of its training'
  );
}

/** Without the owner or the folders above, and without what names only a number format. */
function plainName(name: string): string {
  let plain = (cachedRepo(name)?.name ?? name)
    .replace(/[\\/]+$/, '')
    .split(/[\\/]/)
    .at(-1)!
    .toLowerCase();
  for (let before = ''; before !== plain; ) {
    before = plain;
    plain = plain.replace(
      /[-_.](bf16|bfloat16|f16|fp16|f32|fp32|fp8|gguf|awq|gptq|(bnb-)?[48]bit|bnb|unsloth|dynamic|hf)$/,
      '',
    );
  }
  return plain;
}
