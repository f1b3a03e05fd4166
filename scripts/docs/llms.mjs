/** llms.txt and llms-full.txt of the site: what a language model needs to write code with this package. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ReflectionKind } from 'typedoc';
import { API_GROUP, DOCUMENT_GROUPS, STORY_ORDER } from './story.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const manifest = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));

/** First sentence of a text, in one line and without links' targets. */
function firstSentence(text) {
  const plain = text
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/\s+/g, ' ')
    .trim();
  return /^.*?[.:!?](?= |$)/.exec(plain)?.[0].replace(/:$/, '.') ?? plain;
}

/** The first paragraph behind the heading of a document. */
function opening(text) {
  const paragraphs = text
    .replace(/^```[\s\S]*?^```$/gm, '')
    .split(/\n\s*\n/)
    .map((part) => part.trim());
  const first = paragraphs.find((part) => part !== '' && !/^(#|\[?!\[|<|```|\|)/.test(part)) ?? '';
  return firstSentence(first);
}

const textOf = (parts) => (parts ?? []).map(({ text }) => text).join('');
const commentOf = (reflection) => reflection.signatures?.[0]?.comment ?? reflection.comment;

/** A member of a door as one declares it, in a line. */
function signatureOf(member) {
  const kind = ReflectionKind.singularString(member.kind).toLowerCase();
  const [signature] = member.signatures ?? [];
  if (signature) {
    const parameters = (signature.parameters ?? []).map((one) => {
      const isOptional = one.flags.isOptional || one.defaultValue !== undefined;
      return `${one.name}${isOptional ? '?' : ''}: ${one.type?.toString() ?? 'unknown'}`;
    });
    return `${member.name}(${parameters.join(', ')}): ${signature.type?.toString() ?? 'void'}`;
  }
  return `${kind} ${member.name}`;
}

/** Properties of an options type: name, type and what it means, a line each. */
function propertiesOf(member) {
  const properties = member.children ?? member.type?.declaration?.children ?? [];
  return properties
    .filter(({ kind, comment, name }) => kind === ReflectionKind.Property && comment && !name.startsWith('_'))
    .map((one) => {
      const type = one.type?.toString().replace(/ \| undefined$/, '') ?? 'unknown';
      const short = type.length > 160 ? `${type.slice(0, 157)}…` : type;
      return `  - \`${one.name}${one.flags.isOptional ? '?' : ''}: ${short}\`: ${textOf(one.comment.summary).replace(/\s+/g, ' ').trim()}`;
    });
}

function methodsOf(member) {
  return (member.children ?? [])
    .filter(({ kind }) => kind === ReflectionKind.Method)
    .map((one) => {
      const name = `${one.flags.isStatic ? `${member.name}.` : '.'}${signatureOf(one)}`;
      return `  - \`${name}\`: ${firstSentence(textOf(commentOf(one)?.summary))}`;
    });
}

/** Members of all doors by category of the story, each once. */
function story(project) {
  const categories = new Map(STORY_ORDER.map((title) => [title, []]));
  for (const door of project.children ?? []) {
    for (const { title, children } of door.categories ?? []) {
      const own = children.filter((member) => !member.kindOf(ReflectionKind.Reference) && !member.isDocument?.());
      categories.set(title, [...(categories.get(title) ?? []), ...own.map((member) => ({ door: door.name, member }))]);
    }
  }
  return [...categories].filter(([, members]) => members.length > 0);
}

/** Texts of the two files. `pathOf` gives a document's path below docs/, `urlOf` a page's address on the site. */
export function llmsTexts(project, pathOf, urlOf) {
  const home = manifest.homepage;
  const head = `# ${manifest.name}\n\n> ${manifest.description}\n`;
  const documents = (project.documents ?? []).map((one) => {
    const path = pathOf(one);
    return { name: one.name, group: one.frontmatter.category, text: readFileSync(`${root}docs/${path}`, 'utf8'), one };
  });
  const index = [head, opening(readFileSync(`${root}README.md`, 'utf8')), ''];
  index.push(`Everything in one file: [llms-full.txt](${home}llms-full.txt)`);
  for (const group of DOCUMENT_GROUPS.filter((title) => title !== API_GROUP)) {
    const own = documents.filter((one) => one.group === group);
    if (own.length === 0) continue;
    index.push(`\n## ${group}\n`);
    for (const { name, text, one } of own) index.push(`- [${name}](${home}${urlOf(one)}): ${opening(text)}`);
  }
  const full = [head, readFileSync(`${root}README.md`, 'utf8').replace(/^# .*\n/, '')];
  for (const { text, one } of documents.filter(({ group }) => group !== 'Project')) {
    full.push(`\n<!-- ${home}${urlOf(one)} -->\n\n${text.trim()}\n`);
  }
  for (const [title, members] of story(project)) {
    index.push(`\n## API: ${title}\n`);
    full.push(`\n# API: ${title}\n`);
    for (const { door, member } of members) {
      const said = firstSentence(textOf(commentOf(member)?.summary));
      if (member.kindOf(ReflectionKind.Class | ReflectionKind.Function)) {
        index.push(`- [${member.name}](${home}${urlOf(member)}) from \`${door}\`: ${said}`);
      }
      full.push(`- \`${signatureOf(member)}\` from \`${door}\`: ${said}`);
      full.push(...propertiesOf(member), ...methodsOf(member));
    }
  }
  return { 'llms.txt': `${index.join('\n')}\n`, 'llms-full.txt': `${full.join('\n')}\n` };
}
