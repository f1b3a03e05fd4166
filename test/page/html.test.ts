import { describe, expect, it } from 'vitest';
import { html, jsonForScript } from '../../src/page/html.js';

describe('markup of pages', () => {
  it('escapes values and keeps markup', () => {
    const name = `<b onmouseover="x('&')">`;
    const cell = html`<td title="${name}">${name}</td>`;
    const escaped = '&lt;b onmouseover=&quot;x(&#39;&amp;&#39;)&quot;&gt;';
    expect(cell.markup).toBe(`<td title="${escaped}">${escaped}</td>`);
    expect(html`<tr>${[cell, cell]}</tr>`.markup).toBe(`<tr>${cell.markup}${cell.markup}</tr>`);
  });

  it('shows 0, and nothing for what is missing', () => {
    expect(html`${0}|${undefined}|${null}|${false}|${''}|${[1, 'a<', undefined]}`.markup).toBe('0|||||1a&lt;');
  });

  it('cannot end a script by data', () => {
    const data = { name: '</script><script>alert(1)</script>', line: '\u2028' };
    const text = jsonForScript(data);
    expect(text).not.toMatch(/[<>\u2028]/);
    expect(JSON.parse(text)).toEqual(data);
  });
});
