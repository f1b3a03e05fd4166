/** Rules of the mask section. Learned tokens differ by a line below and their weight too, not by colour alone. */
export const MASK_STYLES = `
:root { scroll-padding-bottom: 5rem; }
main > .masks { padding-bottom: 5rem; }
.mask-sample { margin-top: 1rem; }
.mask-sample h3 { margin: 0; font-size: 1rem; }
.mask-sample p { margin: 0.25rem 0; }
.mask-legend { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin: 0; padding: 0; list-style: none; }
.tokens { margin: 0.5rem 0; line-height: 1.9; }
.token { unicode-bidi: isolate; padding: 0.1em 0.15em; border: 1px solid var(--line); border-radius: 0.2em;
  background: var(--page); color: var(--text); font: 0.875rem/1.2 ui-monospace, monospace; margin-right: 1px;
  display: inline-block; max-width: 100%; }
.token small { margin-left: 0.3em; color: var(--quiet); }
.token.learned small { color: var(--text); }
.token.control { border: 1px dashed var(--quiet); color: var(--quiet); }
.token.padding { color: var(--quiet); }
.token.shared { border-bottom: 2px dotted var(--quiet); }
.token.learned { background: var(--mark); color: var(--text); border-color: var(--accent);
  border-bottom: 3px solid var(--accent); font-weight: 700; }
.token[tabindex]:hover { outline: 2px solid var(--accent); }
.token[tabindex]:hover::after, .token[tabindex]:focus::after, .mask-row:focus::after, .mask-row i:hover::after,
.mask-row b:hover::after {
  content: attr(data-about); position: fixed; z-index: 2; left: 0; right: 0; bottom: 0; padding: 0.6rem 1rem;
  background: var(--text); color: var(--page); font: 1rem/1.4 system-ui, sans-serif; text-align: left; pointer-events: none; }
.token[tabindex]:hover::after, .mask-row i:hover::after, .mask-row b:hover::after { z-index: 3; }
.mask-row:focus::after { content: attr(aria-label); }
.mask-image { margin: 0.75rem 0; }
.mask-image figcaption { margin-bottom: 0.25rem; color: var(--quiet); }
.mask-cells { position: relative; width: calc(var(--width) + 0.75rem); max-width: 100%; padding-right: 0.75rem; }
.mask-cells::before { content: ""; display: block; aspect-ratio: var(--ratio); }
.mask-cells img { position: absolute; left: 0; top: 0; width: calc(100% - 0.75rem); height: 100%; max-width: none; }
.mask-grid { position: absolute; inset: 0; display: flex; flex-direction: column; }
.mask-row { flex: 1 1 0; min-height: 0; display: flex; counter-increment: mask-row; counter-reset: mask-column -1; }
.mask-row i { flex: 1 1 0; min-width: 0; counter-increment: mask-token mask-column;
  background: rgb(var(--level, 0) var(--level, 0) var(--level, 0) / var(--shown, 0));
  box-shadow: inset 0 0 0 0.5px rgb(255 255 255 / 0.5), inset 0 0 0 1px rgb(0 0 0 / 0.4); }
.mask-row i[style] { --shown: 1; }
.mask-row b { flex: 0 0 calc(0.75rem - 2px); margin: 1px 0 1px 2px; counter-increment: mask-token; border: 1px dashed var(--quiet); }
.mask-row b.learned { border: 1px solid var(--accent); background: var(--accent); }
.mask-row i:hover::after { content: "token " counter(mask-token) ": id " var(--id) ", row " counter(mask-row) ", column " counter(mask-column) ", not learned"; }
.mask-row i:hover, .mask-row b:hover { position: relative; z-index: 1; outline: 2px solid #fff; box-shadow: 0 0 0 4px #000; }
.mask-row:focus-visible { position: relative; z-index: 1; outline: 3px solid var(--accent); box-shadow: 0 0 0 5px #fff; }
.mask-sample details summary { cursor: pointer; padding: 0.25rem 0; }
.mask-table { max-height: 30rem; overflow: auto; }
.mask-table table { font-size: 0.875rem; }
@media print { main > .masks { padding-bottom: 0; } .mask-image { break-inside: avoid; } }
@media (forced-colors: active) { .token.learned { border-bottom: 3px solid Highlight; } }
`;
