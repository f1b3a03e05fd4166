/**
 * Draws the images of docs/concepts into docs/images: `node scripts/docs/concept-images.mjs`. They stand on a card of
 * their own, in light or dark as the reader's system is.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const STYLE = `
  .card{fill:#fff;stroke:#d0d7de} text{font:14px system-ui,sans-serif;fill:#1f2328} .small{font-size:12px} .faint{fill:#59636e}
  .mono{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:12px} .bold{font-weight:600} .mid{text-anchor:middle}
  .end{text-anchor:end} .line{stroke:#59636e;stroke-width:1.5;fill:none} .tip{fill:#59636e}
  .grey{fill:#eaeef2;stroke:#afb8c1} .blue{fill:#ddf0fb;stroke:#0072b2} .orange{fill:#fdeed6;stroke:#b87a00}
  .green{fill:#d9f2e9;stroke:#00805f} .red{fill:#fbe3d3;stroke:#d55e00}
  @media (prefers-color-scheme:dark){
    .card{fill:#1e2126;stroke:#3d444d} text{fill:#e6edf3} .faint{fill:#9da7b3} .line{stroke:#9da7b3} .tip{fill:#9da7b3}
    .grey{fill:#2d333b;stroke:#59636e} .blue{fill:#0c3a56;stroke:#56b4e9} .orange{fill:#4a360b;stroke:#e69f00}
    .green{fill:#0b4636;stroke:#00c492} .red{fill:#55280b;stroke:#f08a4b}
  }`;

const escapeXml = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
const text = (x, y, content, kind = '') => `<text x="${x}" y="${y}" class="${kind}">${escapeXml(content)}</text>`;
const rect = (x, y, width, height, kind, radius = 4) =>
  `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="${radius}" class="${kind}"/>`;

/** A box with lines of text in its middle. */
function box(x, y, width, height, kind, lines, textKind = '') {
  const middle = y + height / 2 + 5 - ((lines.length - 1) * 18) / 2;
  const parts = lines.map((line, i) =>
    text(x + width / 2, middle + i * 18, line, `mid ${i > 0 ? 'small faint' : textKind}`),
  );
  return rect(x, y, width, height, kind, 6) + parts.join('');
}

/** A line through points, with a tip at its end. */
function arrow(...points) {
  const [[x0, y0], [x, y]] = points.slice(-2);
  const angle = Math.atan2(y - y0, x - x0);
  const at = (turn) =>
    [x - 8 * Math.cos(angle + turn), y - 8 * Math.sin(angle + turn)].map((n) => n.toFixed(1)).join(',');
  const path = points.map(([px, py]) => `${px},${py}`).join(' ');
  return `<polyline points="${path}" class="line"/><polygon points="${x},${y} ${at(0.4)} ${at(-0.4)}" class="tip"/>`;
}

function svg(name, width, height, title, parts) {
  const path = fileURLToPath(new URL(`../../docs/images/concept-${name}.svg`, import.meta.url));
  const body = `${rect(0.5, 0.5, width - 1, height - 1, 'card', 8)}\n${parts.join('\n')}`;
  const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`;
  return [path, `${head}\n<title>${escapeXml(title)}</title>\n<style>${STYLE}\n</style>\n${body}\n</svg>\n`];
}

/** A sample: its image as cells, its tokens, and which of them are learned. */
function tokens() {
  const parts = [
    text(24, 34, 'One sample', 'bold'),
    text(24, 262, 'Its tokens', 'bold'),
    text(24, 342, 'labels', 'faint'),
  ];
  parts.push(box(24, 50, 300, 44, 'grey', ['user: Which fracture is it?'], 'small'));
  parts.push(box(24, 158, 300, 44, 'green', ['assistant: Comminuted fracture'], 'small'));
  parts.push(text(24, 120, 'image: 84 × 112 pixels, resized to', 'small faint'));
  parts.push(text(24, 138, 'multiples of 28: 3 × 4 cells', 'small faint'));
  for (let row = 0; row < 4; row++) {
    for (let column = 0; column < 3; column++) parts.push(rect(384 + column * 38, 50 + row * 38, 34, 34, 'blue', 2));
    parts.push(rect(384 + 3 * 38, 50 + row * 38, 14, 34, 'orange', 2));
  }
  parts.push(arrow([328, 122], [374, 122]));
  parts.push(text(530, 72, 'one [IMG] token a cell,', 'small'), text(530, 90, '[IMG_BREAK] after each row,', 'small'));
  parts.push(text(530, 108, '[IMG_END] after the last', 'small'));
  const cells = [
    ['<s>', 'grey', 30],
    ['[INST]', 'grey', 52],
    ['Which', 'grey', 48],
    ['…', 'grey', 20],
    ['[IMG] × 12, breaks, end', 'blue', 176],
    ['[/INST]', 'grey', 58],
    ['Com', 'green', 38],
    ['min', 'green', 36],
    ['uted', 'green', 42],
    ['fracture', 'green', 70],
    ['</s>', 'green', 40],
  ];
  let x = 24;
  for (const [label, kind, width] of cells) {
    parts.push(rect(x, 276, width, 34, kind, 3), text(x + width / 2, 297, label, 'mid mono'));
    const isLearned = kind === 'green';
    const said = isLearned ? '✓' : '-100';
    if (width > 24) parts.push(text(x + width / 2, 342, said, `mid mono ${isLearned ? 'bold' : 'faint'}`));
    x += width + 5;
  }
  // "labels" stands below its row.
  parts[2] = text(24, 366, '-100: not learned. The answer and the token that ends it are.', 'small faint');
  return svg('tokens', 720, 384, 'A sample becomes tokens and labels', parts);
}

/** Two towers with adapters beside each linear layer. */
function lora() {
  const parts = [];
  const tower = (x, title, kind, said) => {
    parts.push(rect(x, 56, 170, 196, 'grey', 8), text(x + 85, 44, title, 'mid bold'));
    for (let i = 0; i < 3; i++) {
      const y = 72 + i * 58;
      parts.push(box(x + 14, y, 86, 44, kind, ['W', 'frozen']));
      parts.push(box(x + 110, y, 20, 44, 'green', ['A']), box(x + 136, y, 20, 44, 'green', ['B']));
    }
    parts.push(text(x + 85, 272, said, 'mid small faint'));
  };
  tower(150, 'vision tower', 'blue', 'every linear layer');
  tower(498, 'decoder', 'orange', 'every linear layer');
  parts.push(box(24, 128, 88, 48, 'grey', ['image']), arrow([112, 152], [144, 152]));
  parts.push(
    box(362, 128, 96, 48, 'grey', ['projector', 'frozen']),
    arrow([320, 152], [356, 152]),
    arrow([458, 152], [492, 152]),
  );
  parts.push(box(362, 206, 96, 40, 'grey', ['text']), arrow([458, 226], [492, 226]));
  parts.push(text(24, 312, 'y = W x + (alpha / r) · B A x', 'mono'));
  parts.push(
    text(
      24,
      336,
      'A: [r, in], random at the start. B: [out, r], zero: training begins at the base model.',
      'small faint',
    ),
  );
  return svg('lora', 720, 356, 'LoRA on both towers', parts);
}

/** One optimizer step. */
function step() {
  const parts = [text(24, 34, 'The window of one step: 4 micro-batches of 2 samples', 'bold')];
  const widths = [86, 60, 112, 74, 66, 98, 58, 88];
  let x = 24;
  for (const [i, width] of widths.entries()) {
    parts.push(rect(x, 48, width * 0.9, 30, i % 2 ? 'blue' : 'orange', 3), rect(x, 48, 24, 30, 'grey', 3));
    x += width * 0.9 + 6;
  }
  parts.push(text(24, 98, 'grey: the prefix that they share, such as one instruction: computed once', 'small faint'));
  parts.push(arrow([340, 108], [340, 132]));
  parts.push(text(24, 154, 'Packed into as few passes as fit the memory, without padding', 'bold'));
  const pass = (y, name, shares) => {
    parts.push(text(24, y + 20, name, 'small faint'), rect(84, y, 24, 30, 'grey', 3));
    let left = 112;
    for (const i of shares) {
      const width = widths[i] * 0.9 - 24;
      parts.push(rect(left, y, width, 30, i % 2 ? 'blue' : 'orange', 3));
      left += width + 3;
    }
  };
  pass(168, 'pass 1', [0, 1, 2, 3, 4]);
  pass(206, 'pass 2', [5, 6, 7]);
  parts.push(arrow([340, 246], [340, 270]));
  const steps = [
    ['sum of losses', 'by labelled tokens'],
    ['gradients', 'of A and B alone'],
    ['clip', 'maxGradNorm'],
    ['AdamW', 'optim'],
    ['next rate', 'lrSchedulerType'],
  ];
  for (const [i, lines] of steps.entries()) {
    parts.push(box(24 + i * 137, 278, 122, 52, 'green', lines));
    if (i > 0) parts.push(arrow([24 + i * 137 - 15, 304], [24 + i * 137 - 2, 304]));
  }
  return svg('step', 720, 352, 'What happens in an optimizer step', parts);
}

/** Weights of 14B in three formats, and what training adds. */
function memory() {
  const parts = [text(24, 34, 'Ministral 3 14B on the card, GiB', 'bold')];
  const scale = 13;
  const rows = [
    ['bfloat16', 22.7],
    ['fp8 (e4m3)', 11.3],
    ['nf4', 5.8],
  ];
  for (const [i, [name, layers]] of rows.entries()) {
    const y = 54 + i * 48;
    parts.push(text(112, y + 22, name, 'end'));
    let x = 124;
    const bars = [
      [layers, 'orange'],
      [2.5, 'blue'],
      [0.8, 'grey'],
    ];
    for (const [value, kind] of bars) {
      parts.push(rect(x, y, value * scale, 34, kind, 2));
      if (value > 2) parts.push(text(x + (value * scale) / 2, y + 22, String(value), 'mid small'));
      x += value * scale;
    }
    parts.push(`<rect x="${x + 2}" y="${y}" width="150" height="34" rx="2" class="green" stroke-dasharray="5 4"/>`);
    if (i === 0) parts.push(text(x + 77, y + 22, 'what a pass takes', 'mid small'));
  }
  const legend = [
    ['orange', "decoder's linear layers"],
    ['blue', 'embedding and head'],
    ['grey', 'vision tower, projector'],
    ['green', 'activations, adapter, optimizer: planned'],
  ];
  const places = [24, 206, 376, 24];
  for (const [i, [kind, said]] of legend.entries()) {
    const y = i < 3 ? 214 : 240;
    parts.push(rect(places[i], y, 14, 14, kind, 2), text(places[i] + 20, y + 12, said, 'small'));
  }
  return svg('memory', 720, 274, 'What lies on the card', parts);
}

/** One model, four engines. */
function engines() {
  const parts = [box(24, 40, 200, 60, 'orange', ['model code', 'written once']), arrow([224, 70], [268, 70])];
  parts.push(
    box(272, 40, 424, 60, 'grey', [
      'twelve operations, two blocks of them',
      'forward and backward; an engine may fuse a block',
    ]),
  );
  const names = [
    ['cuda', 'bfloat16, NVIDIA cards', 'real models'],
    ['webgpu', 'float32, any GPU', 'where CUDA is not'],
    ['cpu', 'float32, WebAssembly', 'tiny models, tests'],
    ['tfjs', 'your TensorFlow.js', 'if you use it already'],
  ];
  for (const [i, [name, said, use]] of names.entries()) {
    const x = 24 + i * 172;
    parts.push(box(x, 150, 156, 84, i < 2 ? 'green' : 'blue', [name, said, use], 'bold'));
    parts.push(arrow([x + 78, 126], [x + 78, 146]));
  }
  parts.push('<polyline points="102,126 618,126" class="line"/><polyline points="484,100 484,126" class="line"/>');
  parts.push(
    text(
      24,
      264,
      'The same results within rounding: one conformance suite checks each operation on each engine.',
      'small faint',
    ),
  );
  return svg('engines', 720, 284, 'One model, four engines', parts);
}

/** Texts of the images by their paths. */
export const CONCEPT_IMAGES = new Map([tokens(), lora(), step(), memory(), engines()]);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, content] of CONCEPT_IMAGES) writeFileSync(path, content);
}
