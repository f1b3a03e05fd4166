/**
 * What typedoc lacks for this site: documents at the addresses that their paths say, named by their first heading and in
 * order; exports grouped by the story.
 */
import { relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Comment, CommentTag, Converter, KindRouter, ReflectionKind } from 'typedoc';
import { API_GROUP, DOCUMENT_GROUPS, DOCUMENT_ORDER, groupOf, STORY_ORDER, storyOf } from './story.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Paths with slashes, below a folder of the repository. */
const below = (folder, path) =>
  relative(root + folder, path)
    .split(sep)
    .join('/');

/** Path below docs/ of each document's file. */
const paths = new WeakMap();

class SiteRouter extends KindRouter {
  getIdealBaseName(reflection) {
    return paths.get(reflection)?.replace(/\.md$/, '') ?? `api/${reflection.name.replace(/\W+/g, '-')}`;
  }
}

/** Adds a category without a word in the source. */
function categorize(reflection, title) {
  reflection.comment ??= new Comment();
  if (reflection.comment.getTag('@category')) return;
  reflection.comment.blockTags.push(new CommentTag('@category', [{ kind: 'text', text: title }]));
}

export function load(app) {
  app.options.setValue('categoryOrder', [...DOCUMENT_GROUPS, API_GROUP, ...STORY_ORDER, '*']);
  app.renderer.defineRouter('site', SiteRouter);

  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_, document) => {
    const path = below('docs', app.files.getReflectionPath(document));
    paths.set(document, path);
    const text = document.content.map((part) => part.text).join('');
    const [, title] = /^# (.+)$/m.exec(text) ?? [];
    if (!title) app.logger.error(`docs/${path} has no heading "# …", which names it`);
    document.name = (title ?? path).replaceAll('`', '');
    document.frontmatter.category = groupOf(path);
  });

  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    project.documents?.sort((a, b) => place(a) - place(b) || a.name.localeCompare(b.name));
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
}

function place(document) {
  const i = DOCUMENT_ORDER.indexOf(paths.get(document));
  return i === -1 ? DOCUMENT_ORDER.length : i;
}
