/** How values are written into SVG. */

/** A number for SVG: three decimals are finer than any screen. */
export function format(value: number): string {
  return String(Math.round(value * 1000) / 1000);
}

export function escapeXml(value: string): string {
  const names: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  // Control characters and lone surrogates are not allowed in XML at all; direction overrides would reach further.
  return value
    .replace(/[\t\n\r]/g, ' ')
    .replace(/[\p{Cc}\p{Cs}\ufffe\uffff\u202a-\u202e\u2066-\u2069]/gu, '')
    .replace(/[&<>"]/g, (c) => names[c]!);
}

export function unescapeXml(value: string): string {
  const characters: Record<string, string> = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"' };
  return value.replace(/&(amp|lt|gt|quot);/g, (name) => characters[name]!);
}
