/** What people paste for a Kaggle data set: names, addresses of its pages, commands, lines of Python. */
import { ConfigError } from '../errors.js';
import { describeGiven, isPromise } from '../messages/given-kind.js';
import { showValue } from '../messages/show-value.js';
import type { KaggleSource } from './handle.js';

const EXPECTED =
  'Expected owner/dataset, or owner/dataset/versions/N for a certain version; competitions/NAME for a competition.';

/** Allowed in a path and in a URL without escapes. */
const SLUG = /^[A-Za-z0-9_-]{1,100}$/;
const VERSION = /^[1-9]\d{0,8}$/;

/** First parts of Kaggle's addresses that name no data set, and what they do name. */
const OTHER_PAGES: readonly (readonly [RegExp, string])[] = [
  [/^(models|model-instances)$/, 'a Kaggle model, not a data set'],
  [/^(code|kernels|notebooks|scripts)$/, 'a Kaggle notebook, not a data set'],
  [/^discussions?$/, 'a discussion on Kaggle, not a data set'],
  [/^writeups$/, 'an article on Kaggle, not a data set'],
  [/^benchmarks$/, 'a Kaggle benchmark, not a data set'],
  [/^learn$/, 'a Kaggle course, not a data set'],
  [/^organizations$/, "an organisation's page on Kaggle, not a data set"],
  [/^(settings|account|work)$/, 'a page of your Kaggle account, not a data set'],
  [/^search$/, 'a search on Kaggle, not a data set'],
  [/^docs$/, 'a page of documentation, not a data set'],
  [/^rankings$/, 'a ranking on Kaggle, not a data set'],
  [/^t$/, 'an invitation to a competition: open it, the address that it leads to has its name'],
];

const otherPage = (first: string): string | undefined => OTHER_PAGES.find(([pattern]) => pattern.test(first))?.[1];

/** Pages of a data set, whose addresses mean the data set. */
const DATASET_PAGES =
  /^(code|data|discussions?|metadata|settings|suggestions|activity|croissant|download|notebooks|usability|versions)$/i;

/**
 * `owner/dataset` for the current version; `owner/dataset/versions/3` or `owner/dataset/3` for a certain one;
 * `competitions/NAME` for the files of a competition. The addresses of their pages, and the commands and lines of
 * Python that Kaggle offers for copying, mean the same.
 * @throws ConfigError that says what it names instead
 */
export function parseKaggleHandle(handle: string): KaggleSource {
  if (typeof handle !== 'string') {
    throw new ConfigError(`expected the name of a Kaggle data set, got ${describeGiven(handle)}`, {
      hint: isPromise(handle) ? 'Await it.' : EXPECTED,
    });
  }
  // Longer texts are no names; expressions below look at what is left once, from left to right.
  if (handle.length > 2000) throw notAHandle(handle);
  const text = handle.trim();
  const pasted = fromPython(text, handle) ?? fromCommand(text, handle);
  return parsePlain(pasted ?? text, handle);
}

/** The argument of the first call in lines of Python that has a text. */
function fromPython(text: string, given: string): string | undefined {
  for (const [, module, name = '', rest = ''] of text.matchAll(/\b(\w+)\.(\w+)\(([^)]*)/g)) {
    const texts = [...rest.matchAll(/(\w+\s*=\s*)?(["'])([^"']*)\2/g)].map(([, key, , value]) => ({
      key: key?.replace(/\W/g, ''),
      value: value!,
    }));
    const first = texts.find(({ key }) => key === undefined || /^(handle|dataset|competition)$/.test(key))?.value;
    if (first === undefined) continue;
    if (module === 'kagglehub' && texts.some(({ key }) => key === 'path')) throw singleFile(given);
    if (name.startsWith('competition')) return /^[\w-]+$/.test(first) ? `competitions/${first}` : first;
    if (name.startsWith('model')) throw other(given, otherPage('models')!);
    if (/^(notebook|kernel)/.test(name)) throw other(given, 'the output of a Kaggle notebook, not a data set');
    return first;
  }
  return undefined;
}

/** What a command of Kaggle's client, or one that fetches an address, is about. */
function fromCommand(text: string, given: string): string | undefined {
  const words = text
    .replace(/\\\r?\n|\]\(/g, ' ')
    .split(/\s+/)
    .map((word) => word.replace(/^["'<(]+|["'>),;]+$/g, ''));
  if (words.length === 1) return words[0] === text ? undefined : words[0];
  const at = words.findIndex((word) => /^[!%$]?kaggle$/.test(word));
  if (at < 0) {
    const addresses = words.filter((word) => /^https?:\/\//i.test(word));
    return addresses.length === 1 ? addresses[0] : undefined;
  }
  const [group = '', action = '', ...rest] = words.slice(at + 1);
  if (/^(kernels?|k)$/.test(group)) throw other(given, otherPage('kernels')!);
  if (/^(models?|m)$/.test(group)) throw other(given, otherPage('models')!);
  const isCompetition = /^(competitions?|c)$/.test(group);
  if ((!isCompetition && !/^(datasets?|d)$/.test(group)) || action !== 'download') return undefined;
  let name: string | undefined;
  for (let i = 0; i < rest.length; i++) {
    const [, flag, joined] = /^(-{1,2}[a-z-]+)(?:=(.*))?$/.exec(rest[i]!) ?? [];
    if (flag === undefined) name ??= rest[i];
    else if (flag === '-f' || flag === '--file') throw singleFile(given);
    else if (/^(-d|--dataset|-c|--competition)$/.test(flag)) name = joined ?? rest[++i];
    else if (/^(-p|--path|-v|--version)$/.test(flag) && joined === undefined) i++;
  }
  return isCompetition && name !== undefined && !name.includes('/') ? `competitions/${name}` : name;
}

/** A name, or an address. */
function parsePlain(text: string, given: string): KaggleSource {
  const address = /^(?:([a-z][a-z0-9+.-]*):\/\/)?((?:[\w-]+\.)+[a-z]{2,})(?::\d+)?(?=[/?#]|$)(.*)$/is.exec(text);
  if (address || /^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return parseAddress(address, text, given);
  if (/^hf:/i.test(text)) throw onTheHub(text, given);
  if (/^([./~\\]|[A-Za-z]:[\\/])/.test(text) && text !== '/') throw aPath(text, given);
  return parseParts(partsOf(text), undefined, false, given);
}

function parseAddress(address: RegExpExecArray | null, text: string, given: string): KaggleSource {
  const [, scheme = 'https', host = '', rest = ''] = address ?? [];
  if (/^hf$/i.test(scheme) || /^hf:/i.test(text)) throw onTheHub(text, given);
  if (/^(www\.)?(huggingface\.co|hf\.co)$/i.test(host)) throw onTheHub(`${host}${rest}`, given);
  if (!/^https?$/i.test(scheme) || !/^([a-z]+\.)?kaggle\.com$/i.test(host)) {
    throw notAHandle(given, `${host || text.slice(0, 40)} is not Kaggle.`);
  }
  let [parts, version] = [partsOf(rest), versionOf(rest)];
  if (parts[0] === 'api' && parts[1] === 'v1') {
    const [group, call] = [parts[2], parts[3]];
    if (group === 'datasets' && (call === 'download' || call === 'view')) parts = ['datasets', ...parts.slice(4)];
    else if (group === 'competitions' && call === 'data' && parts[4] === 'download-all') {
      parts = ['competitions', ...parts.slice(5)];
    } else if (group === 'competitions' && call === 'data') throw singleFile(given);
    else throw other(given, "an address of Kaggle's service that gives no data set");
    if (parts.length > 3 || /[?&](file_name|fileName)=/.test(rest)) throw singleFile(given);
  }
  return parseParts(parts, version, true, given);
}

/** @param isAddress pages of a data set are no part of a plain name */
function parseParts(
  parts: readonly string[],
  version: string | undefined,
  isAddress: boolean,
  given: string,
): KaggleSource {
  const [first = ''] = parts;
  const group = first.toLowerCase();
  if (group === 'competitions' || group === 'c') {
    const [, competition = '', page] = parts;
    if (!SLUG.test(competition)) throw other(given, 'no certain competition');
    if (page !== undefined && !isAddress) throw notAHandle(given);
    return { competition };
  }
  const rest = group === 'datasets' ? parts.slice(1) : parts;
  const otherKind = otherPage(group);
  if (otherKind !== undefined) throw other(given, otherKind);
  const [owner = '', dataset = '', page, ...more] = rest;
  const isPage = isAddress || group === 'datasets';
  if (isPage && rest.length < 2)
    throw other(given, rest.length === 0 ? 'no certain data set' : "a user's page on Kaggle");
  if (rest.length === 1 && SLUG.test(owner)) {
    throw notAHandle(given, `The name of a competition? Give "competitions/${owner}".`);
  }
  if (!SLUG.test(owner) || !SLUG.test(dataset)) throw notAHandle(given);
  let number = version;
  if (page?.toLowerCase() === 'versions' && more.length > 0) {
    if (more.length > 1 && !isPage) throw notAHandle(given);
    number = more[0];
  } else if (page !== undefined && more.length === 0 && /^\d+$/.test(page)) number = page;
  else if (page !== undefined && !(isPage && DATASET_PAGES.test(page))) {
    throw page.includes('.') ? singleFile(given) : notAHandle(given);
  } else if (page?.toLowerCase() === 'versions' && !isPage) throw notAHandle(given);
  if (number !== undefined && !VERSION.test(number)) {
    throw notAHandle(given, `"${number.slice(0, 20)}" is no version: they are counted from 1.`);
  }
  return { owner, dataset, version: number === undefined ? undefined : Number(number) };
}

function partsOf(path: string): string[] {
  const parts = path.replace(/[?#].*$/s, '').split('/');
  // Slashes at the ends; one in between would hide a missing name.
  while (parts[0] === '') parts.shift();
  while (parts.at(-1) === '') parts.pop();
  return parts;
}

/** The version in the query of an address for downloading. */
function versionOf(rest: string): string | undefined {
  return /[?&](?:dataset_?version_?number)=([^&#]*)/i.exec(rest)?.[1];
}

function refused(given: string, what: string, hint = EXPECTED): ConfigError {
  return new ConfigError(`${showValue(given)} ${what}`, { hint, details: { handle: given } });
}

function notAHandle(given: string, more = ''): ConfigError {
  return refused(given, 'names no Kaggle data set', more ? `${more} ${EXPECTED}` : EXPECTED);
}

function other(given: string, what: string): ConfigError {
  return refused(given, `names no Kaggle data set, but ${what}`);
}

function singleFile(given: string): ConfigError {
  const hint = 'Give owner/dataset; the option `ignore` leaves out files and folders when they are read.';
  return refused(given, 'names a single file; data sets are downloaded as a whole', hint);
}

function onTheHub(text: string, given: string): ConfigError {
  const name = /datasets\/([\w.-]+\/[\w.-]+)/i.exec(text)?.[1];
  const model = /^(?:[\w.]+\/|hf:\/\/)([\w.-]+\/[\w.-]+)/i.exec(text)?.[1];
  const models = model ? `Models are loaded by fromPretrained('${model}'), image` : 'Image';
  const hint = `${models} data sets by HubImageFolder.download('owner/name').`;
  const what = 'is on the Hugging Face Hub, not on Kaggle';
  return refused(given, what, name ? `Use HubImageFolder.download('${name}').` : hint);
}

function aPath(text: string, given: string): ConfigError {
  const hint = `A folder on this machine is read by KaggleImageFolder.fromFolder(${showValue(text)}). ${EXPECTED}`;
  return refused(given, 'is a path, and names no Kaggle data set', hint);
}
