/** The example's prompt: name exactly one of the classes. */
export function fracturePrompt(classNames: readonly string[]): string {
  const list = classNames.join(', ');
  return [
    'You are a radiology assistant specialised in bone fracture classification.',
    'You must classify the X-ray image into exactly ONE of the following classes:',
    list,
    'Rules:',
    '- Reply with ONLY the class name.',
    '- No explanations, no extra words, no markdown, no punctuation.',
    `- Output must be EXACTLY one of: ${list}`,
  ].join('\n');
}
