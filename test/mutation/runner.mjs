/**
 * Stryker's runner for vitest, which also counts a test file that no longer loads as failed: files make what they share
 * when they load, and a mutant that breaks just that would pass for one that no test has noticed.
 */
import { relative } from 'node:path';
import { declareFactoryPlugin, PluginKind } from '@stryker-mutator/api/plugin';
import { DryRunStatus, TestStatus } from '@stryker-mutator/api/test-runner';
import { strykerPlugins } from '@stryker-mutator/vitest-runner';

const [vitest] = strykerPlugins;

function makeRunner(injector) {
  const runner = vitest.factory(injector);
  const run = runner.run.bind(runner);
  runner.run = async (options) => {
    const result = await run(options);
    if (result.status !== DryRunStatus.Complete) return result;
    const broken = runner.ctx.state.getFiles().filter(({ result, tasks }) => result?.state === 'fail' && !tasks.length);
    const failed = broken.map(({ filepath, result: { errors } }) => ({
      id: `${relative(process.cwd(), filepath)}#`,
      name: 'the file loads',
      status: TestStatus.Failed,
      failureMessage: errors?.[0]?.message ?? 'it does not load',
      timeSpentMs: 0,
    }));
    return { ...result, tests: [...result.tests, ...failed] };
  };
  return runner;
}
makeRunner.inject = vitest.factory.inject;

const plugins = [declareFactoryPlugin(PluginKind.TestRunner, 'vitest-files', makeRunner)];

export { plugins as strykerPlugins };
