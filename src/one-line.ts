/** The name of a file in a message: one with line ends would look like more messages than one. */
export function oneLine(name: string): string {
  return name.replaceAll(/[\r\n]/g, (end) => (end === '\n' ? '\\n' : '\\r'));
}
