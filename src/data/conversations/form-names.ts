/** Names of the forms that rows of conversations have. */

/** How rows of a file are written. `messages`: roles and texts alone, as OpenAI, Mistral and TRL all have them. */
export type ConversationForm =
  | 'messages'
  | 'openai'
  | 'mistral'
  | 'trl'
  | 'prompt-completion'
  | 'text'
  | 'sharegpt'
  | 'alpaca';

export const FORMS = [
  'messages',
  'openai',
  'mistral',
  'trl',
  'prompt-completion',
  'text',
  'sharegpt',
  'alpaca',
] as const satisfies readonly ConversationForm[];
