/** One HTML file that needs nothing else: no request leaves the machine, and the browser would refuse one. */
import { escapeHtml, type Html } from './html.js';
import { THEME } from './theme.js';

/** Content of a page. */
interface PageParts {
  readonly title: string;
  /** Goes into the `main` element. */
  readonly body: Html;
  /** Rules beside those of the theme. */
  readonly styles?: readonly string[];
  /** Programs, run in this order after the body. */
  readonly scripts?: readonly string[];
  /** What the page may connect to, for a page that a server gives; nothing by default. */
  readonly connect?: "'self'";
}

/**
 * A program as the content of a script element. In its texts `</script` would end the element, and after `<!--` another
 * `<script` would take the end of this one for its own, and the rest of the page with it.
 */
function scriptText(script: string): string {
  return script.replace(/<(?=\/script|!--)/gi, '\\x3c');
}

export function renderPage({ title, body, styles = [], scripts = [], connect }: PageParts): string {
  const policy = [
    "default-src 'none'",
    `img-src data:${connect ? ` ${connect}` : ''}`,
    "style-src 'unsafe-inline'",
    ...(scripts.length > 0 ? ["script-src 'unsafe-inline'"] : []),
    ...(connect ? [`connect-src ${connect}`] : []),
    "base-uri 'none'",
    "form-action 'none'",
  ];
  const inline = scripts.map((script) => `<script>${scriptText(script)}</script>`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy.join('; ')}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${[THEME, ...styles].join('\n')}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<main id="content" tabindex="-1">
${body.markup}
</main>
${inline.join('\n')}
</body>
</html>
`;
}
