import { stat } from 'node:fs/promises';
import { ConfigError } from '../errors.js';
import type { PushedFile } from '../hub/push-files.js';
import { parseRepoId, plainRepoName } from '../hub/repo-id.js';
import type { CardSubject } from './model-card.js';

export interface Upload {
  /** Without page, images and a chat template of the options. */
  readonly files: readonly PushedFile[];
  readonly warnings: readonly string[];
  /** @param hasTemplate whether a chat template is uploaded, from the folder or the options */
  subject(repoId: string, hasTemplate: boolean): CardSubject;
  /** Why it must not come beside what the repository has; undefined if it may. */
  refuse?(paths: readonly string[]): string | undefined;
}

/** The base model's name, after checking that others can do something with it. */
export async function hubName(name: string | undefined, what: string): Promise<string | undefined> {
  if (name === undefined) return undefined;
  const isFolder = await stat(name).then(
    (found) => found.isDirectory(),
    () => false,
  );
  try {
    if (!isFolder) return parseRepoId(plainRepoName(name));
  } catch {}
  throw new ConfigError(`the ${what}'s base model "${name}" is a folder of this machine, which helps nobody else`, {
    hint: "Give the base model's name on the Hub as `modelCard: { baseModel: ... }`.",
    details: { baseModel: name },
  });
}
