import { scalarsOf, type TrainerCallback } from 'ministral-tune/monitor';

export function mlflow(experiment_id: string, server = 'http://127.0.0.1:5000'): TrainerCallback {
  let run_id = '';
  const post = async (call: string, fields: object) => {
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ run_id, ...fields });
    const answer = await fetch(`${server}/api/2.0/mlflow/runs/${call}`, { method: 'POST', headers, body });
    if (!answer.ok) throw new Error(`${call}: status ${answer.status}, ${await answer.text()}`);
    return (await answer.json()) as { run: { info: { run_id: string } } };
  };
  return {
    name: 'MLflow',
    async onStart({ config }) {
      ({ run_id } = (await post('create', { experiment_id, start_time: Date.now() })).run.info);
      const params = Object.entries(config).map(([key, value]) => ({ key, value: JSON.stringify(value) }));
      await post('log-batch', { params });
    },
    async onEvent(event) {
      const finite = Object.entries(scalarsOf(event)).filter(([, value]) => Number.isFinite(value));
      const at = { timestamp: Date.now(), step: event.step };
      const metrics = finite.map(([key, value]) => ({ key, value, ...at }));
      if (metrics.length > 0) await post('log-batch', { metrics });
    },
    async onClose(error) {
      const status = error === undefined ? 'FINISHED' : 'FAILED';
      if (run_id !== '') await post('update', { status, end_time: Date.now() });
    },
  };
}
