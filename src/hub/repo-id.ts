/** Names of repositories on the Hub, and what is a folder instead. */
import { stat } from 'node:fs/promises';
import { ConfigError } from '../errors.js';
import { describeGiven, isPromise } from '../given-kind.js';
import { expandHome } from './environment.js';
import { refuseOtherThanModel } from './repo-kind.js';

/** `owner/name`, or a bare name from the Hub's first days. */
const REPO_ID = /^(?:[A-Za-z0-9](?:[\w.-]{0,94}\w)?\/)?\w(?:[\w.-]{0,94}\w)?$/;

const EXPECTED = 'Expected "owner/name", e.g. "mistralai/Ministral-3-3B-Instruct-2512-BF16".';

/** @throws ConfigError if the Hub cannot have a repository of this name */
export function parseRepoId(text: string): string {
  if (typeof text !== 'string') {
    throw new ConfigError(`expected the name of a repository on the Hub, got ${describeGiven(text)}`, {
      hint: isPromise(text) ? 'Await it.' : EXPECTED,
    });
  }
  refuseOtherThanModel(text);
  if (REPO_ID.test(text) && !/--|\.\.|\.git$/.test(text)) return text;
  const [, fromUrl] = /^https?:\/\/[^/]+\/([\w.-]+\/[\w.-]+)(?:\/tree\/[^/]+)?\/?$/.exec(text) ?? [];
  throw new ConfigError(`"${text}" is not the name of a repository on the Hub`, {
    hint: fromUrl ? `Give "${fromUrl}".` : EXPECTED,
    details: { repoId: text },
  });
}

/** The repository that another tool has written as a URL or with a slash at its end; any other text as it is. */
export function plainRepoName(text: string): string {
  const pattern = /^(?:(?:https?:\/\/(?:huggingface\.co|hf\.co)|hf:\/)\/)?([\w.-]+\/[\w.-]+?)(?:\/tree\/[^/]+)?\/*$/;
  const [, repo] = pattern.exec(text) ?? [];
  return repo !== undefined && !/^[.~]/.test(text) ? repo : text;
}

/**
 * The folder that a text means, or undefined if it names a repository. An existing folder always wins, as in Python.
 * @throws ConfigError for a path to nothing, and for what is neither
 */
export async function localFolder(idOrFolder: string): Promise<string | undefined> {
  if (typeof idOrFolder !== 'string') {
    throw new ConfigError(`expected "owner/name" on the Hub or a folder, got ${describeGiven(idOrFolder)}`, {
      ...(isPromise(idOrFolder) && { hint: 'Await it.' }),
    });
  }
  if (idOrFolder.trim() === '') {
    throw new ConfigError('expected "owner/name" on the Hub or a folder, got an empty string');
  }
  const path = expandHome(idOrFolder);
  const found = await stat(path).catch(() => undefined);
  if (found?.isDirectory()) return path;
  if (found) {
    throw new ConfigError(`${idOrFolder} is a file, not a folder`, {
      hint: 'Give the folder that it lies in.',
      details: { path },
    });
  }
  refuseOtherThanModel(idOrFolder);
  if (/^([./\\~]|[A-Za-z]:[\\/])/.test(idOrFolder) || /\\|\/.*\//.test(idOrFolder)) {
    if (/^https?:/.test(idOrFolder)) parseRepoId(idOrFolder);
    throw new ConfigError(`${idOrFolder}: there is no such folder`, {
      hint: 'Check the path; a repository on the Hub is named "owner/name".',
      details: { path },
    });
  }
  parseRepoId(idOrFolder);
  return undefined;
}
