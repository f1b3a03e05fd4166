/**
 * What typedoc lacks for this site: documents at the addresses that their paths say, named by their first heading and in
 * order; exports grouped by the story; pages that also work from the disk; llms.txt.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  Application,
  Comment,
  CommentTag,
  Converter,
  IndexEvent,
  KindRouter,
  PageEvent,
  PageKind,
  ReflectionKind,
  RendererEvent,
  Slugger,
} from 'typedoc';
import { exportOrder, importLines } from './example-imports.mjs';
import { llmsTexts } from './llms.mjs';
import { API_GROUP, DOCUMENT_GROUPS, DOCUMENT_ORDER, groupOf, STORY_ORDER, storyOf } from './story.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Paths with slashes, below a folder of the repository. */
const below = (folder, path) =>
  relative(root + folder, path)
    .split(sep)
    .join('/');

/** Path below docs/ of each document's file. */
const paths = new WeakMap();

const { repository } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
const sources = `${repository.url.replace(/^git\+|\.git$/g, '')}/blob/main/`;

/** Texts that link to what is no page here, such as an example, read it on GitHub; a copy would be shown bare. */
function linkToSources(parts, folder) {
  for (const part of parts ?? []) {
    if (part.kind !== 'relative-link') continue;
    const path = posix.join(folder, part.text);
    if (path.startsWith('docs/')) continue;
    part.kind = 'text';
    part.text = sources + path;
    delete part.target;
  }
}

/** Anchors of headings as GitHub makes them, so that a link works in both places. */
class GitHubSlugger extends Slugger {
  serialize(value) {
    const kept = value
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, '');
    return kept.replaceAll(' ', '-') || '_';
  }
}

/** Blocks without a language are no code. Code in headings is part of their text, for anchors and the list of the page. */
function arrangeMarkdown(parser) {
  parser.core.ruler.push('site', ({ tokens }) => {
    for (const [i, token] of tokens.entries()) {
      if (token.type === 'fence' && token.info.trim() === '') token.info = 'text';
      if (token.type !== 'heading_open') continue;
      for (const token of tokens[i + 1].children ?? []) {
        if (token.type === 'code_inline') token.children = [{ type: 'text', content: token.content }];
      }
    }
  });
}

class SiteRouter extends KindRouter {
  buildPages(project) {
    const pages = super.buildPages(project);
    for (const { model } of pages) {
      if (model.isProject?.() || model.isDocument?.()) this.sluggers.set(model, new GitHubSlugger({ lowercase: true }));
    }
    return pages;
  }

  getIdealBaseName(reflection) {
    // As GitHub shows a folder's README for the folder.
    const path = paths.get(reflection)?.replace(/README\.md$/, 'index.md');
    return path?.replace(/\.md$/, '') ?? `api/${reflection.name.replace(/\W+/g, '-')}`;
  }
}

/** Adds a category without a word in the source. */
function categorize(reflection, title) {
  // A function's words are those of its signature.
  const holder = reflection.signatures?.[0] ?? reflection;
  holder.comment ??= new Comment();
  if (holder.comment.getTag('@category')) return;
  holder.comment.blockTags.push(new CommentTag('@category', [{ kind: 'text', text: title }]));
}

/** Examples in docstrings import nothing, as an editor does that; on a page they are whole. */
function addImports(comment) {
  for (const { content } of comment.getTags('@example')) {
    for (const part of content.filter(({ kind }) => kind === 'code')) {
      const [, fence, code] = /^(```ts.*\n)([\s\S]*)```$/.exec(part.text) ?? [];
      if (fence && !/^import /m.test(code)) part.text = `${fence}${importLines(code)}\n\n${code}\`\`\``;
    }
  }
}

/** In the search, what one calls comes before the options that one writes, and they before all that is of their name. */
function relevanceOf(reflection) {
  if (reflection.kindOf(ReflectionKind.Class | ReflectionKind.Function)) return 6;
  return /(Options|Input)$/.test(reflection.parent?.name ?? '') ? 4 : 1;
}

function placeOf(document) {
  const i = DOCUMENT_ORDER.indexOf(paths.get(document));
  return i === -1 ? DOCUMENT_ORDER.length : i;
}

export function load(app) {
  app.on(Application.EVENT_BOOTSTRAP_END, () => {
    app.options.setValue('markdownItLoader', arrangeMarkdown);
    app.options.setValue('categoryOrder', [...DOCUMENT_GROUPS, ...STORY_ORDER, '*']);
  });
  app.renderer.defineRouter('site', SiteRouter);

  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, document) => {
    const path = below('docs', app.files.getReflectionPath(document));
    paths.set(document, path);
    const text = document.content.map((part) => part.text).join('');
    const [, title] = /^# (.+)$/m.exec(text) ?? [];
    if (!title) app.logger.error(`docs/${path} has no heading "# …", which names it`);
    document.name = (title ?? path).replaceAll('`', '');
    document.frontmatter.category = groupOf(path);
    linkToSources(document.content, posix.dirname(`docs/${path}`));
  });

  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    linkToSources(project.readme, '');
    for (const { comment } of Object.values(project.reflections)) if (comment) addImports(comment);
    for (const door of project.children ?? []) {
      door.name = door.name === 'index' ? 'ministral-tune' : `ministral-tune/${door.name}`;
      categorize(door, API_GROUP);
      for (const member of door.children ?? []) {
        if (member.kindOf(ReflectionKind.Reference)) continue;
        const file = project.getSymbolIdFromReflection(member)?.fileName;
        if (file) categorize(member, storyOf(below('src', file).replace(/\.ts$/, ''), member.name));
      }
    }
  });

  app.converter.on(Converter.EVENT_END, ({ project }) => {
    const byPlace = (a, b) => placeOf(a) - placeOf(b) || a.name.localeCompare(b.name);
    project.documents?.sort(byPlace);
    for (const { children, title } of project.categories ?? []) if (title !== API_GROUP) children.sort(byPlace);
    // As the doors list them: what one calls before what comes with it.
    const order = exportOrder();
    for (const door of project.children ?? []) {
      for (const { children } of door.categories ?? []) {
        children.sort((a, b) => (order.get(a.name) ?? 0) - (order.get(b.name) ?? 0));
      }
    }
  });

  app.renderer.on(IndexEvent.PREPARE_INDEX, (event) => {
    // A constant's own fields would come before the options of their names.
    const isOfConstant = (one) => one.parent?.name === '__type' && one.parent.parent?.kindOf(ReflectionKind.Variable);
    event.searchResults = event.searchResults.filter((one) => !isOfConstant(one));
    for (const one of event.searchResults) one.relevanceBoost = relevanceOf(one);
  });

  app.renderer.on(PageEvent.END, (page) => {
    // A page from the disk may not load an image from another file; the symbols are in every page by icons.js.
    page.contents = page.contents.replace(/href="(?:\.\.\/)*assets\/icons\.svg#/g, 'href="#');
    // Badges come from other hosts, which a reader of the site has not asked for anything.
    page.contents = page.contents.replace(/<a href="[^"]*"[^>]*><img src="https:\/\/[^"]*"[^>]*><\/a>\s*/g, '');
    if (page.pageKind === PageKind.Document) {
      page.contents = page.contents.replace(/<ul class="tsd-breadcrumb"[\s\S]*?<\/ul>/, '');
    }
  });

  app.renderer.on(RendererEvent.END, ({ project, outputDirectory }) => {
    const texts = llmsTexts(
      project,
      (document) => paths.get(document),
      (reflection) => app.renderer.router.getFullUrl(reflection),
    );
    for (const [name, text] of Object.entries(texts)) writeFileSync(join(outputDirectory, name), text);
  });
}
