import { scalarsOf, type TrainerCallback } from 'ministral-tune/monitor';

export function trackio(project: string, run: string, server = 'http://127.0.0.1:7860'): TrainerCallback {
  const headers = {
    'content-type': 'application/json',
    'x-trackio-write-token': process.env.TRACKIO_WRITE_TOKEN ?? '',
  };
  let config: object | undefined;
  return {
    name: 'trackio',
    onStart(event) {
      config = event.config;
    },
    async onEvent(event) {
      const metrics = scalarsOf(event);
      if (Object.keys(metrics).length === 0) return;
      const body = JSON.stringify({ logs: [{ project, run, metrics, step: event.step, config }], hf_token: null });
      const answer = await fetch(`${server}/api/bulk_log`, { method: 'POST', headers, body });
      if (!answer.ok) throw new Error(`trackio: status ${answer.status}, ${await answer.text()}`);
    },
  };
}
