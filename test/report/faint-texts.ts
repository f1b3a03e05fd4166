/** An expression for a page: its visible texts whose contrast is below 4.5, as WCAG AA asks for texts of any size. */
export const FAINT_TEXTS = `(() => {
  const parse = (color) => {
    const numbers = color.match(/[\\d.e-]+/g).map(Number);
    const scale = color.startsWith('color(srgb') ? 255 : 1;
    return [...numbers.slice(0, 3).map((value) => value * scale), numbers[3] ?? 1];
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((value) => value / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color[3] === 1) return color;
      if (color[3] > 0) throw new Error('a background that is partly transparent');
    }
    return [255, 255, 255, 1];
  };
  const faint = new Set();
  const seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (walker.currentNode.data.trim() === '' || /^(SCRIPT|STYLE|OPTION)$/.test(element.tagName)) continue;
    // Of the thousand cells that look alike one is enough.
    const kind = [element, element.parentElement].map((one) => one.tagName + '.' + one.className).join(' ') + element.closest('[class]')?.className;
    if (seen.has(kind)) continue;
    const style = getComputedStyle(element);
    if (element.getClientRects().length === 0 || style.visibility === 'hidden') continue;
    seen.add(kind);
    const [low, high] = [luminance(parse(style.color)), luminance(behind(element))].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) faint.add(element.tagName + '.' + element.className + ' ' + contrast.toFixed(2));
  }
  return [...faint];
})()`;
