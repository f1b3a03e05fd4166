/** A part of the page, with its entry in the list of contents. */
import { type Html, html } from '../page/html.js';

export interface ReportSection {
  /** Of the element, unique in the page. */
  readonly id: string;
  readonly title: string;
  /** With a heading of level 2 and the id. */
  readonly body: Html;
}

export function section(
  id: string,
  title: string,
  content: Html | readonly (Html | false | undefined)[],
): ReportSection {
  const body = html`<section id="${id}"><h2>${title}</h2>${content as readonly Html[]}</section>`;
  return { id, title, body };
}

/** A table within a frame that scrolls, by keys as well. */
export function scrolled(label: string, table: Html, isTall = false): Html {
  return html`<div class="${isTall ? 'scroll tall' : 'scroll'}" tabindex="0" role="region" aria-label="${label}">${table}</div>`;
}
