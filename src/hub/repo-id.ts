/** Names of repositories on the Hub, and what is a folder instead. */
import { stat } from 'node:fs/promises';
import { pathFault } from '../config.js';
import { ConfigError } from '../errors.js';
import { describeGiven, isPromise } from '../messages/given-kind.js';
import { redactAddresses } from '../messages/secrets.js';
import { showValue } from '../messages/show-value.js';
import { refuseOtherThanModel, wholeRevision } from './repo-kind.js';

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
  if (isRepoId(text)) return text;
  // A password or a signature may be part of an address.
  const shown = redactAddresses(text);
  throw new ConfigError(`"${shown}" is not the name of a repository on the Hub`, {
    hint: adviceFor(text) ?? EXPECTED,
    details: { repoId: shown },
  });
}

const HUB_HOST = /^(?:www\.)?(?:huggingface\.co|hf\.co)$/i;
const ADDRESS =
  /^(?:https?:\/\/(?:[^/@\s]*@)?([^/\s]+)\/|((?:www\.)?(?:huggingface\.co|hf\.co))\/|git@(hf\.co):|hf:\/\/)/i;

/** What to write in place of the address of a page, of a file or of a clone; undefined if none is recognised. */
function adviceFor(text: string): string | undefined {
  const given = text
    .slice(0, 2000)
    .trim()
    .replace(/^["'`<]+|["'`>]+$/g, '');
  const address = ADDRESS.exec(given);
  const host = address?.slice(1).find(Boolean);
  const path = given.slice(address?.[0].length ?? 0).replace(/[?#].*$/s, '');
  const parts = path.split('/').filter(Boolean);
  if (parts[0] === 'api') parts.shift();
  if (parts[0] === 'models' && parts.length > 2) parts.shift();
  const isBare = parts.length === 1 || PAGES.test(parts[1]!);
  const [name = '', at] = parts
    .splice(0, isBare ? 1 : 2)
    .join('/')
    .replace(/\.git$/, '')
    .split('@');
  if (!isRepoId(name) || (address === null && isBare)) return undefined;
  const revision =
    at ?? (parts.length > 1 && /^(tree|blob|resolve|raw|commit)$/.test(parts[0]!) ? parts[1] : undefined);
  const options = [
    ...(host === undefined || HUB_HOST.test(host) ? [] : [`endpoint: 'https://${host}'`]),
    ...(revision === undefined || revision === 'main'
      ? []
      : [`revision: '${wholeRevision(revision, parts.slice(2))}'`]),
  ];
  return `Give "${name}"${options.length > 0 ? `, with the option${options.length > 1 ? 's' : ''} ${options.join(' and ')}` : ''}.`;
}

const PAGES = /^(tree|blob|resolve|raw|commits?|discussions|settings)$/;

function isRepoId(text: string): boolean {
  return REPO_ID.test(text) && !/--|\.\.|\.git$/.test(text);
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
      hint: isPromise(idOrFolder)
        ? 'Await it.'
        : (idOrFolder as unknown) instanceof URL
          ? 'For a folder give its path: fileURLToPath(url), of node:url.'
          : EXPECTED,
    });
  }
  if (/^file:/i.test(idOrFolder)) {
    throw new ConfigError(`expected "owner/name" on the Hub or a folder, got the URL ${idOrFolder}`, {
      hint: 'For a folder give its path: fileURLToPath(url), of node:url.',
    });
  }
  const home = idOrFolder.startsWith('~') ? pathFault(idOrFolder) : undefined;
  if (home) {
    throw new ConfigError(`expected "owner/name" on the Hub or a folder, got ${showValue(idOrFolder)}, ${home.what}`, {
      hint: home.hint,
    });
  }
  if (idOrFolder.trim() === '') {
    throw new ConfigError('expected "owner/name" on the Hub or a folder, got an empty string');
  }
  const found = await stat(idOrFolder).catch(() => undefined);
  if (found?.isDirectory()) return idOrFolder;
  if (found) {
    throw new ConfigError(`${idOrFolder} is a file, not a folder`, {
      hint: 'Give the folder that it lies in.',
      details: { path: idOrFolder },
    });
  }
  refuseOtherThanModel(idOrFolder);
  if (/^([./\\~]|[A-Za-z]:[\\/])/.test(idOrFolder) || /\\|\/.*\//.test(idOrFolder)) {
    if (ADDRESS.test(idOrFolder.trim())) parseRepoId(idOrFolder);
    throw new ConfigError(`${idOrFolder}: there is no such folder`, {
      hint:
        (/^[./\\~]/.test(idOrFolder) ? undefined : adviceFor(idOrFolder)) ??
        'Check the path; a repository on the Hub is named "owner/name".',
      details: { path: idOrFolder },
    });
  }
  const name = parseRepoId(idOrFolder);
  // Models of these kinds all have an owner; the Hub would be asked, and without network asked again and again.
  if (!name.includes('/')) {
    throw new ConfigError(`"${name}" is neither a folder here nor "owner/name" on the Hub: it has no owner`, {
      hint: /^(?:mini|mi)stral/i.test(name) ? `Give "mistralai/${name}".` : EXPECTED,
      details: { repoId: name },
    });
  }
  return undefined;
}
