/** The mask view as a section of a page, and as a page of its own. */
import type { MaskView } from '../data/mask-view.js';
import { type Html, html } from './html.js';
import { renderPage } from './page.js';

/** Rules that a page with a mask section needs. */
export const MASK_STYLES = '';

/** All samples of a view, under one heading of the second level. */
export function maskSection(view: MaskView): Html {
  return html`<section>${view.samples.length}</section>`;
}

/** A page of its own: the text of one HTML file that needs nothing else. */
export function renderMaskPage(view: MaskView): string {
  return renderPage({ title: 'What is learned', body: maskSection(view), styles: [MASK_STYLES] });
}
