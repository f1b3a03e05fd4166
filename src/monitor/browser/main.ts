/** The program of the live page. */
import type { Action, LiveSnapshot, LiveUpdate, RunStatus } from '../live-protocol.js';
import { Connection, type ConnectionState } from './connection.js';
import { Curves } from './curves.js';
import { byId, setText } from './dom.js';
import { Sections } from './sections.js';

const TOKEN_KEY = 'ministral-tune live page token';
/** Charts are drawn at most this often, in milliseconds; where people want less motion, less often. */
const DRAW_MS = matchMedia('(prefers-reduced-motion: reduce)').matches ? 3000 : 300;

const announce = (text: string): void => setText(byId('announcement'), text);
const curves = new Curves(announce);
const connection = new Connection({ onMessage, onState });
const sections = new Sections(curves, (index) => connection.image(index));

let status: RunStatus | undefined;
let canControl = false;
let savesAtStop = true;
let connectionState: ConnectionState = 'connecting';
/** Time of day. */
let lostAt = '';
let isDrawDue = false;

function onMessage({ name, data }: { readonly name: string; readonly data: string }): void {
  if (name === 'closed') return;
  if (name === 'snapshot') {
    const snapshot = JSON.parse(data) as LiveSnapshot;
    curves.load(snapshot);
    sections.load(snapshot);
    canControl = snapshot.facts?.controls ?? false;
    savesAtStop = snapshot.facts?.savesAtStop ?? true;
    status = snapshot.status;
  } else if (name === 'update') {
    const update = JSON.parse(data) as LiveUpdate;
    curves.add(update);
    sections.add(update);
    status = update.status;
  }
  showState();
  drawSoon();
}

function onState(state: ConnectionState): void {
  if ((state === 'lost' || state === 'full') && connectionState !== state) {
    lostAt = new Date().toLocaleTimeString('en-GB');
  }
  connectionState = state;
  byId('token-form').hidden = state !== 'unauthorized';
  if (state === 'unauthorized') {
    sessionStorage.removeItem(TOKEN_KEY);
    const wasGiven = connection.token !== null;
    setText(byId('token-message'), wasGiven ? 'That token is not the right one.' : '');
    byId('token').focus();
  }
  showState();
}

function drawSoon(): void {
  if (isDrawDue) return;
  isDrawDue = true;
  setTimeout(() => {
    isDrawDue = false;
    // A hidden page is drawn when it is seen again.
    if (!document.hidden) draw();
  }, DRAW_MS);
}

function draw(): void {
  curves.draw();
  if (status) sections.showStatus(status);
}

/** What the run does, and whether this page knows. */
function showState(): void {
  const badge = byId('state');
  badge.dataset['state'] =
    connectionState === 'open' || connectionState === 'closed' ? (status?.state ?? '') : 'unknown';
  setText(badge, stateText());
  setText(byId('connection'), connectionText());
  const isLive = canControl && connectionState === 'open';
  const isPaused = status?.state === 'paused';
  const isGoing = isPaused || status?.state === 'running';
  byId('controls').hidden = !canControl;
  const hold = byId<HTMLButtonElement>('hold');
  setText(hold, isPaused ? 'Resume' : 'Pause');
  setDisabled(hold, !isLive || !isGoing);
  const stop = byId<HTMLButtonElement>('stop');
  setText(stop, savesAtStop ? 'Stop and save…' : 'Stop…');
  setDisabled(stop, !isLive || !isGoing);
}

/** Says that a button does nothing now, without taking the focus off it. */
function setDisabled(button: HTMLButtonElement, isDisabled: boolean): void {
  button.setAttribute('aria-disabled', String(isDisabled));
}

function stateText(): string {
  if (!status) return connectionState === 'unauthorized' ? 'Locked' : 'Connecting…';
  const reason = status.reason ? `: ${status.reason}` : '.';
  const kept = status.checkpoint ? ` Newest checkpoint: ${status.checkpoint}` : '';
  switch (status.state) {
    case 'waiting':
      return 'The run has not begun yet.';
    case 'running':
      return 'Training.';
    case 'paused':
      return 'Paused: no further step is taken, the parameters stay as they are.';
    case 'stopping':
      return savesAtStop ? 'Stopping: the last whole step is being saved.' : 'Stopping.';
    case 'finished':
      return `The run is finished.${kept}`;
    case 'stopped':
      return `The run was stopped${reason}${kept}`;
    case 'failed':
      return `The run failed${reason}${kept}`;
  }
}

function connectionText(): string {
  switch (connectionState) {
    case 'connecting':
      return 'Connecting to the run…';
    case 'open':
      return '';
    case 'lost':
      return `No connection since ${lostAt}: the run has ended, or the network is down. What is shown is from before. Trying again…`;
    case 'full':
      return 'Too many pages follow this run. Trying again…';
    case 'unauthorized':
      return 'This page needs the token of the run.';
    case 'closed':
      return ['finished', 'stopped', 'failed'].includes(status?.state ?? '')
        ? 'This page receives nothing more; what is shown stays. Reload it to follow a later run.'
        : 'The program has closed this page, which receives nothing more; the run goes on.';
  }
}

async function act(action: Action): Promise<void> {
  setText(byId('control-message'), '');
  setText(byId('control-message'), (await connection.act(action)) ?? '');
}

function onClick(id: string, listener: () => void): void {
  const button = byId<HTMLButtonElement>(id);
  button.addEventListener('click', () => {
    if (button.getAttribute('aria-disabled') !== 'true') listener();
  });
}

function follow(token: string | null): void {
  connection.token = token;
  void connection.follow();
}

/** From the address, which then loses it: it is not to stay in the history or in a copied link. */
function givenToken(): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token !== null) {
    sessionStorage.setItem(TOKEN_KEY, token);
    history.replaceState(null, '', location.pathname);
  }
  return token ?? sessionStorage.getItem(TOKEN_KEY);
}

const dialog = byId<HTMLDialogElement>('confirm');
onClick('hold', () => void act(status?.state === 'paused' ? 'resume' : 'pause'));
onClick('stop', () => {
  byId('confirm-saves').hidden = !savesAtStop;
  byId('confirm-loses').hidden = savesAtStop;
  dialog.showModal();
});
onClick('confirm-stop', () => {
  dialog.close();
  void act('stop');
});
onClick('confirm-cancel', () => dialog.close());
byId('token-form').addEventListener('submit', (event) => {
  event.preventDefault();
  // The whole address may be pasted.
  const token = byId<HTMLInputElement>('token')
    .value.trim()
    .replace(/^.*#token=/, '');
  sessionStorage.setItem(TOKEN_KEY, token);
  follow(token);
});
byId('log-scale').addEventListener('change', (event) => {
  curves.isLog = (event.target as HTMLInputElement).checked;
});
byId('smoothing').addEventListener('input', (event) => {
  const slider = event.target as HTMLInputElement;
  curves.window = 2 ** Number(slider.value);
  const text = curves.window === 1 ? 'none' : `${curves.window} steps`;
  slider.setAttribute('aria-valuetext', text);
  setText(byId('smoothing-value'), text);
  draw();
});
byId('share').addEventListener('change', (event) => {
  curves.share = Number((event.target as HTMLSelectElement).value);
  draw();
});
addEventListener('online', () => connection.hurry());
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  connection.hurry();
  draw();
});
follow(givenToken());
