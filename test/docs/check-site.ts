/**
 * Checks the site that `npm run docs` has built: links, llms.txt, and with a Chromium the pages and the search.
 *
 *     npm run docs:check [-- --all]      --all: the search for every option of every interface
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { exportOrder } from '../../scripts/docs/example-imports.mjs';
import { findChromium } from '../chromium.js';
import { type OptionName, SiteBrowser } from './site-in-browser.js';
import { checkLinks } from './site-links.js';
import { filesBelow, root } from './snippets.js';

const site = join(root, 'docs/site');
if (!existsSync(join(site, 'index.html'))) throw new Error('docs/site does not exist: npm run docs');
const MAIN_OPTIONS = ['SftConfigOptions', 'LrScheduleOptions', 'LoraConfigOptions', 'GenerationOptions'];
const MAIN_PAGES = [
  'ministral-tune',
  'ministral-tune-eval',
  'SftTrainer',
  'ImageFolder',
  'fromPretrained',
  'TuneError',
];

const failures: string[] = [];
const { pages, links, dead } = checkLinks(site);
failures.push(...dead);
console.log(`${pages} pages, ${links} links: ${dead.length} dead`);

const options = readOptions(process.argv.includes('--all') ? undefined : MAIN_OPTIONS);
const llms = readFileSync(join(site, 'llms-full.txt'), 'utf8');
for (const { owner, name } of options) {
  if (!llms.includes(`\`${name}`)) failures.push(`llms-full.txt does not name ${owner}.${name}`);
}

const chromium = findChromium();
if (chromium === undefined) {
  console.log('skipped: no Chromium on this machine, so pages and search were not looked at');
} else {
  const browser = await SiteBrowser.start(site, chromium);
  try {
    const documents = filesBelow(site, '.').filter((file) => /^(guides|concepts)\/.*\.html$|^[^/]+\.html$/.test(file));
    const shown = [...documents, ...[...MAIN_PAGES, ...MAIN_OPTIONS].map((name) => `api/${name}.html`)];
    const seen = await browser.look(shown);
    console.log(`${shown.length} pages in two widths: ${seen.length} complaints`);
    const found = await browser.search(options);
    console.log(`search for ${options.length} options: ${found.length} complaints`);
    failures.push(...seen, ...found);
  } finally {
    await browser.close();
  }
}
for (const failure of failures) console.error(failure);
process.exitCode = failures.length > 0 ? 1 : 0;

/** Options of the exported interfaces, as they are written. */
function readOptions(owners: readonly string[] | undefined): OptionName[] {
  const exported = exportOrder();
  const names: OptionName[] = [];
  for (const file of filesBelow(root, 'src').filter((path) => path.endsWith('.ts'))) {
    const { statements } = ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.Latest);
    for (const { name, members } of statements.filter(ts.isInterfaceDeclaration)) {
      const isAsked = owners ? owners.includes(name.text) : /(Options|Input)$/.test(name.text);
      if (!isAsked || !exported.has(name.text)) continue;
      for (const member of members.filter(ts.isPropertySignature)) {
        if (ts.isIdentifier(member.name)) names.push({ owner: name.text, name: member.name.text });
      }
    }
  }
  return names;
}
